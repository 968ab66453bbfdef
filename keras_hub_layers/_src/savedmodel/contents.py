"""Records of what a SavedModel holds: traces, functions, variables, contents."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from keras_hub_layers._src.savedmodel.protos.specs import flatten, is_spec, pack_like

if TYPE_CHECKING:
    from keras_hub_layers._src.savedmodel.graphs.library import Body

__all__ = ["Contents", "Function", "Trace", "Variables", "blocking_dtypes", "is_piece_name", "name_of"]


# What Keras stores beside the interface; callable, but nobody's piece.
_NOT_PIECES = (
    r"_.*|serve|signatures|keras_api|optimizer|call_and_return_(all_)?conditional_losses|initializer|restore|prune"
    r"|layer-\d+|layer_with_weights-\d+|layers|variables|trainable_variables|regularization_losses"
)


@dataclass(frozen=True, eq=False)
class Trace:
    """One way to call a function: the one input, and the other arguments that were fixed with it.

    Attributes:
        inputs: A `tf.TypeSpec`, or a list or dict of them; `None` entries where the trace has none. Of what is
            described, and not loaded, a `SavedSpec`, as below.
        arguments: Argument name to Python value, or to a `tf.TypeSpec` for arguments that are tensors.
        outputs: The outputs' structure, of `tf.TypeSpec` or symbolic tensors; `None` if unknown.
        variables: The `tf.Variable`s, or `SavedVariable`s, that the function captured.
        form: The inputs as the function itself takes them, if they hold a named tuple, which is a list here; or `None`.
        body: Reads its graph; `None` where there is none.
        keywords: Keys of `inputs`, a dict then, that the function takes by name: tensors beside its first argument.
    """

    inputs: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)
    outputs: Any = None
    variables: tuple[Any, ...] = ()
    form: Any = None
    body: "Callable[[], Body] | None" = None
    keywords: tuple[str, ...] = ()

    def split(self, inputs: Any) -> tuple[Any, dict[str, Any]]:
        """Inputs, structured as the trace's, as the first argument of the function and those that it takes by name."""
        if not self.keywords:
            return self.pack_as_traced(inputs), {}
        first = next(value for name, value in inputs.items() if name not in self.keywords)
        return self.pack_as_traced(first), {name: inputs[name] for name in self.keywords}

    def pack_as_traced(self, inputs: Any) -> Any:
        """Inputs, structured as the trace's, in the form that the function takes."""
        return inputs if self.form is None else pack_like(self.form, iter(flatten(inputs)))


@dataclass(frozen=True, eq=False)
class Function:
    """Something that can be called: `__call__` of an object, or a signature.

    Attributes:
        call: The callable itself.
        parameters: Names of the arguments after the first, with their defaults
            (`inspect.Parameter.empty` for none).
        traces: The traces that exist; empty where any input may be tried (an in-process callable).
        is_signature: Whether inputs go in by name and outputs come out as a dict.
        is_open: Whether any further keyword argument may be tried.
        is_restored: Whether it comes from a SavedModel, so that it has its traces and nothing else.
        input_name: Name of the first argument.
    """

    call: Callable[..., Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    traces: tuple[Trace, ...] = ()
    is_signature: bool = False
    is_open: bool = False
    is_restored: bool = False
    input_name: str = "inputs"

    @property
    def required(self) -> list[str]:
        """Names of further arguments without a default, but for `training`, which is always given."""
        empty = inspect.Parameter.empty
        return [name for name, default in self.parameters.items() if default is empty and name != "training"]

    @property
    def accepts_training(self) -> bool:
        return "training" in self.parameters

    @property
    def usable_traces(self) -> tuple[Trace, ...]:
        """The traces that take one tensor, or one list or dict of tensors."""
        return self.usable_traces_with(())

    def usable_traces_with(self, fixed: Collection[str]) -> tuple[Trace, ...]:
        """The usable traces, those without `keywords` first.

        A tensor that the function takes by name and that is left out by default, such as the mask of
        `call(x, mask=None)`, is an input: `{"x": …, "mask": …}`.

        Args:
            fixed: Names of further arguments that are given for good.
        """
        traces = [self._with_keywords(trace, fixed) for trace in self.traces if _is_input(trace.inputs)]
        return tuple(sorted(traces, key=lambda trace: bool(trace.keywords)))

    def _with_keywords(self, trace: Trace, fixed: Collection[str]) -> Trace:
        keywords = tuple(
            name
            for name, value in trace.arguments.items()
            if name not in ("training", *fixed) and self.parameters.get(name, ...) is None and _is_input(value)
        )
        if not keywords:
            return trace
        inputs = {self.input_name: trace.inputs, **{name: trace.arguments[name] for name in keywords}}
        arguments = {name: value for name, value in trace.arguments.items() if name not in keywords}
        return replace(trace, inputs=inputs, arguments=arguments, keywords=keywords)

    def is_usable(self, arguments: Iterable[str] = ()) -> bool:
        """Whether the interface covers this function, with these further arguments given."""
        is_traced = bool(self.usable_traces) or not (self.traces or self.is_restored)
        return is_traced and not set(self.required) - set(arguments)


@dataclass(frozen=True, eq=False)
class Variables:
    """The variables of an object.

    Attributes:
        published: `trainable_variables`, then the rest of `variables`; no entry twice, no `None`.
        trainable: The published trainable ones.
        captured: Those that functions use and the object does not publish.
        has_lists: Whether the object publishes any list at all.
    """

    published: tuple[Any, ...]
    trainable: tuple[Any, ...]
    captured: tuple[Any, ...]
    has_lists: bool

    @property
    def candidates(self) -> tuple[Any, ...]:
        """Those that may ever be trained: the published trainable ones, or, without lists, what the own flags allow."""
        return (
            self.trainable if self.has_lists else tuple(v for v in self.captured if v.trainable and v.dtype.is_floating)
        )


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of one graph of a SavedModel, or of a piece of it.

    Attributes:
        function: What `__call__` is, or `None`.
        signatures: Name to function.
        variables: Published and captured ones.
        losses: One per published regularization loss: its trace, or `None` where it has none.
        input_losses: What becomes of the losses that depend on inputs: `"counted"`, `"lost"`, or `""` where there are
            none.
        pieces: Dotted names of the named callables.
        assets: File names.
        missing_ops: Names of ops that the running TensorFlow does not have.
        piece: From the name of a piece to its contents.
        not_loadable: Why TensorFlow 2 cannot load it; `""` if nothing is known.
    """

    function: Function | None
    signatures: dict[str, Function]
    variables: Variables
    losses: tuple[Trace | None, ...]
    input_losses: str
    pieces: list[str]
    assets: list[str]
    missing_ops: list[str]
    piece: "Callable[[str], Contents]"
    not_loadable: str = ""


def blocking_dtypes(function: Function | None, output_key: str | None = None) -> str:
    """The dtypes of a function's outputs, in words, if no gradient passes any of them; `""` if one may, or unknown.

    Args:
        function: What is called.
        output_key: Key of the one output that is used. Defaults to `None`: all of them.
    """
    dtypes = set()
    for trace in function.usable_traces if function else ():
        outputs = trace.outputs
        if isinstance(outputs, Mapping) and output_key in outputs:
            outputs = outputs[output_key]
        dtypes |= {getattr(leaf, "dtype", None) for leaf in flatten(outputs)}
    if not all(map(_blocks_gradients, dtypes)):
        return ""
    return " and ".join(sorted(dtype.name for dtype in dtypes))


def _blocks_gradients(dtype: Any) -> bool:
    return hasattr(dtype, "is_integer") and (dtype.is_integer or dtype.name in ("string", "bool"))


def _is_input(inputs: Any) -> bool:
    """Whether a trace's first argument is one tensor, or one list or dict of tensors."""
    leaves = flatten(inputs)
    return bool(leaves) and all(map(is_spec, leaves))


def is_piece_name(name: str) -> bool:
    """Whether something of that name may be a piece, rather than what Keras stores beside the interface."""
    return re.fullmatch(_NOT_PIECES, name) is None


def name_of(variable: Any) -> str:
    """A variable's name in the SavedModel: slashes kept, without `:0`."""
    return variable.name.split(":")[0]
