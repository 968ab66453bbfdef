"""What TensorFlow raises while a function runs, for reasons that the user can do something about."""

from keras_hub_layers._src.executors.base import Choice
from keras_hub_layers.errors import InterfaceError, Line


def explain(err: Exception, choice: Choice) -> Exception:
    """The error to raise instead; the same one for a reason that is not known.

    Args:
        err: What TensorFlow raised.
        choice: What was called.
    """
    return _empty_table(choice) if "Table not initialized" in str(err) else err


def _empty_table(choice: Choice) -> InterfaceError:
    obj = choice.target

    def fix(line: Line) -> str:
        return (
            f"obj = {line()}.resolved_object\n"
            "fills = ('InitializeTable', 'LookupTableImport')\n"
            "obj.prune([], [op for op in obj.graph.get_operations() if op.type.startswith(fills)])()\n"
            f"layer = {line(handle=obj, tags=None, load_options=None, sha256=None)}"
        )

    return InterfaceError(
        "A lookup table of the SavedModel is empty: whoever saved it left out the op that fills its tables.",
        expected="an initialization op in the SavedModel, which TensorFlow runs when it loads it",
        received="Table not initialized",
        fix=fix,
    )
