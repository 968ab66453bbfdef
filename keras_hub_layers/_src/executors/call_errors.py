"""Errors for calls that TensorFlow's traces or strategies do not take, and for what TensorFlow raises meanwhile."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.executors import input_wording
from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers._src.executors.inputs import conform, trace_form
from keras_hub_layers._src.executors.matching import Mismatch
from keras_hub_layers._src.executors.repairs.input_repairs import example, repair
from keras_hub_layers._src.inspect.verdicts.call_target import BodyReader
from keras_hub_layers._src.inspect.verdicts.gradients import check_gradients
from keras_hub_layers._src.savedmodel import contents, live_object
from keras_hub_layers.errors import InputError, InterfaceError, Line, TrainingError


def no_match_error(
    inputs: Any,
    arguments: Mapping[str, Any],
    traces: Sequence[contents.Trace],
    reason: object = None,
    declared: Any = None,
    is_for_bytes: Callable[[], bool] = lambda: False,
) -> InputError:
    """The error that shows the inputs, the nearest trace, and the lines that make the one match the other.

    Args:
        inputs: What the user passes.
        arguments: The further arguments of the call.
        traces: Those that accept the arguments.
        reason: Why nothing matches. Defaults to `None`: why the nearest trace does not.
        declared: The `KerasTensor`s that the inputs stand for. Defaults to `None`: they are data, or a function's.
        is_for_bytes: Whether the model takes pixel values up to 255; asked only where it matters.
    """
    given = inputs if declared is None else declared
    fixes = [repair(given, trace.inputs, is_for_bytes=is_for_bytes) for trace in traces]
    order = sorted(range(len(traces)), key=lambda i: (not fixes[i].is_complete, len(fixes[i].lines)))
    lines: tuple[str, ...] = ("x = keras.ops.convert_to_tensor(x)",)
    if order:
        nearest = traces[order[0]]
        lines = fixes[order[0]].lines or (example(nearest.inputs),)
        reason = reason or _reason(inputs, nearest)
    if any(tf.is_tensor(leaf) and not hasattr(leaf, "numpy") for leaf in tf.nest.flatten(inputs)):
        lines = (*lines, "# then build a Sequential model again: it keeps the shape of its first inputs")
    if len(lines) > 12:
        lines = (*lines[:11], f"# … and {len(lines) - 11} more such lines")
    shown = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return InputError(
        f"The inputs match no trace of the SavedModel: {str(reason).rstrip('.')}.",
        expected="one of\n" + input_wording.list_traces([trace_form(traces[i]) for i in order], "   <- the nearest"),
        received=f"({input_wording.describe_inputs(inputs)}{shown})",
        fix="\n".join(lines),
    )


def _reason(inputs: Any, trace: contents.Trace) -> str:
    """Why inputs do not match a trace."""
    try:
        conform(inputs, trace.inputs)
    except Mismatch as err:
        return str(err)
    return "TensorFlow refuses them"


def explain(err: Exception, choice: Choice) -> Exception:
    """The error to raise instead of what TensorFlow raised; the same one for a reason that is not known."""
    op = re.search(r"No gradient defined for operation.*\(op type: (\w+)\)", str(err))
    if op is not None:
        function = choice.function
        wanted = live_object.variables(choice.target, (function,)).candidates
        is_training = function.accepts_training and choice.arguments.get("training") is not False
        check = check_gradients(function, (), wanted, BodyReader(), training=False)
        return lost_gradients_error([op[1]], choice.arguments, can_infer=is_training and not check.lost)
    return _empty_table_error(choice.target) if "Table not initialized" in str(err) else err


def lost_gradients_error(ops: Sequence[str], arguments: Mapping[str, Any], can_infer: bool) -> TrainingError:
    """The error for ops that are trained through and have no gradient.

    Args:
        ops: Their names.
        arguments: Those of the layer.
        can_infer: Whether inference mode, which the layer does not pin yet, does without them.
    """

    def fix(line: Line) -> str:
        frozen = f"{line(trainable=None, unfreeze=None)}   # frozen"
        if not can_infer:
            return frozen
        pinned = line(trainable=True, arguments={**arguments, "training": False})
        return f"{pinned}   # tunes the weights in inference mode\n{frozen}"

    return TrainingError(
        "The layer cannot be fine-tuned: TensorFlow has no gradient for some ops of its SavedModel.",
        expected="a SavedModel with its custom gradients, as TensorFlow saves them with "
        "tf.saved_model.SaveOptions(experimental_custom_gradients=True)",
        received=f"{', '.join(ops)}: their custom gradients were not saved, or none is defined",
        fix=fix,
    )


def _empty_table_error(obj: Any) -> InterfaceError:
    def fix(line: Line) -> str:
        return (
            f"obj = {line()}.resolved_object\n"
            "fills = ('InitializeTable', 'LookupTableImport')\n"
            "obj.prune([], [op for op in obj.graph.get_operations() if op.type.startswith(fills)])()\n"
            f"layer = {line(handle=obj, tags=None, load_options=None, sha256=None)}"
        )

    return InterfaceError(
        "A lookup table of the SavedModel is empty: it was saved without the op that fills its tables.",
        expected="an initialization op in the SavedModel, which TensorFlow runs when it loads it",
        received="Table not initialized",
        fix=fix,
    )


def uncallable_loss_error(received: str) -> InterfaceError:
    """The error for an entry of the published losses that is no function."""
    return InterfaceError(
        "A published regularization loss cannot be called.",
        expected="regularization_losses: a list of functions without arguments that return a scalar",
        received=received,
        fix="ask its publisher to save tf.function(lambda: loss, input_signature=[]) instead",
    )


def check_strategy(made_in: tf.distribute.Strategy) -> None:
    """Refuse to train a layer under another strategy than that of its variables.

    Args:
        made_in: The strategy in whose scope the layer was made.
    """
    now = tf.distribute.get_strategy()
    if tf.distribute.has_strategy() and now is not made_in:
        raise _other_strategy_error(made_in, f"called under {type(now).__name__}", trainable=True)


def check_strategy_of_compile(model: Any) -> None:
    """Refuse to train a model that was made outside of the scope in which it was compiled.

    The step of its optimizer would end in an error without a text.

    Args:
        model: The Keras model whose training step is traced.
    """
    iterations = getattr(getattr(model, "optimizer", None), "iterations", None)
    strategy = getattr(getattr(iterations, "value", None), "distribute_strategy", None)
    if strategy is not None and strategy is not model.distribute_strategy:
        raise _other_strategy_error(model.distribute_strategy, f"compiled under {type(strategy).__name__}")


def _other_strategy_error(made_in: tf.distribute.Strategy, what: str, **changes: Any) -> TrainingError:
    return TrainingError(
        "The layer was created outside the distribution strategy that trains it.",
        expected="a HubLayer created within the scope of the strategy",
        received=f"one created under {type(made_in).__name__}, {what}",
        fix=lambda line: (
            f"with strategy.scope():\n    layer = {line(**changes)}\n"
            "    # and the model that holds it, with its compile"
        ),
    )


def check_mode(made_in: tf.distribute.Strategy) -> None:
    """Refuse an eager call in training mode outside of the replicas: it would move one copy of the state.

    Args:
        made_in: The strategy in whose scope the layer was made.
    """
    is_in_replica = tf.distribute.get_strategy() is made_in and not tf.distribute.in_cross_replica_context()
    if made_in.num_replicas_in_sync == 1 or is_in_replica or not tf.executing_eagerly():
        return
    raise TrainingError(
        "The layer belongs to a strategy with several replicas, and is called in training mode in none of them.",
        expected="a call that the strategy runs in each replica, as fit does, so that all copies of the state move",
        received=f"training=True, outside of the {made_in.num_replicas_in_sync} replicas of {type(made_in).__name__}",
        fix="outputs = strategy.run(layer, args=(x,), kwargs={'training': True})   # model.fit does this by itself",
    )
