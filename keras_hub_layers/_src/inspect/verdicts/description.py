"""What of a SavedModel can be used and fine-tuned, and how: itself, a signature, or a piece."""

from functools import cached_property
from typing import Any

from keras_hub_layers._src.inspect.records import SignatureInfo
from keras_hub_layers._src.inspect.specs import flatten
from keras_hub_layers._src.inspect.verdicts import usage
from keras_hub_layers._src.inspect.verdicts.call_target import BodyReader, CallTarget, signature_info
from keras_hub_layers._src.inspect.verdicts.fine_tunable import Modes
from keras_hub_layers._src.savedmodel.contents import Contents, Function, Variables
from keras_hub_layers._src.savedmodel.source import Source
from keras_hub_layers._src.savedmodel.traces import merge_variables


class Description:
    """The contents of a SavedModel, weighed.

    Args:
        source: Where it comes from; `None` for an object that was not loaded from a handle.
        contents: What it holds.
        piece: Name of the piece that these are the contents of. Defaults to `None`: the whole.
    """

    def __init__(self, source: Source | None, contents: Contents, piece: str | None = None) -> None:
        self._source, self._contents, self._piece = source, contents, piece
        self._read_body = BodyReader(source)
        is_usable = contents.function is not None and contents.function.is_usable()
        if source is not None and source.format != "tf2":
            self.kind = source.format
        else:
            self.kind = "reusable" if is_usable else "signatures" if contents.signatures else "empty"
        self.whole = CallTarget(contents, self._read_body, self.kind)
        self.signatures: dict[str, SignatureInfo] = {
            name: signature_info(function) for name, function in contents.signatures.items()
        }

    @cached_property
    def pieces(self) -> dict[str, CallTarget]:
        """The pieces, by name."""
        return {name: CallTarget(self._contents.piece(name), self._read_body) for name in self._contents.pieces}

    @cached_property
    def _used_piece(self) -> str | None:
        """The piece to use of what cannot be called itself: the first that can be fine-tuned, else the first."""
        usable = [name for name, target in self.pieces.items() if target.is_usable and not target.python_ops[""]]
        if self.kind != "empty" or not usable:
            return None
        return next((name for name in usable if self.pieces[name].verdict.fine_tunable), usable[0])

    @cached_property
    def _tuned_piece(self) -> str | None:
        """The piece to fine-tune where the whole cannot be."""
        if self.whole.verdict.fine_tunable or self.kind in ("tf1", "tf1_hub"):
            return None
        return next((name for name in self.pieces if self._can_be_tuned(self.pieces[name])), None)

    @staticmethod
    def _can_be_tuned(target: CallTarget) -> bool:
        return bool(target.is_usable and target.contents.variables.trainable) and (
            target.verdict.fine_tunable and not target.python_ops[""]
        )

    @property
    def _used(self) -> CallTarget:
        return self.whole if self._used_piece is None else self.pieces[self._used_piece]

    @property
    def keyword_inputs(self) -> tuple[str, ...]:
        """Keys of the inputs, where each trace of what is used takes tensors by name; else empty."""
        traces = self._used.function.usable_traces if self._used.function else ()
        return tuple(traces[0].inputs) if traces and traces[0].keywords else ()

    @property
    def modes(self) -> Modes:
        """The modes of what the code calls."""
        return self._used.modes

    # -- variables ---------------------------------------------------------------------------------------------------

    @property
    def variables(self) -> Variables:
        """The variables; of what has pieces only, theirs."""
        if self.kind == "empty" and self.pieces:
            return merge_variables(target.contents.variables for target in self.pieces.values())
        return self._contents.variables

    @property
    def functions(self) -> list[Function]:
        """The functions that use the variables."""
        if self.kind == "empty" and self.pieces:
            return [target.contents.function for target in self.pieces.values() if target.contents.function]
        return [self.whole.function] if self.whole.function else list(self._contents.signatures.values())

    def is_reached(self, variable: Any) -> bool:
        """Whether a gradient reaches a variable, as far as graphs say it."""
        targets = [self.whole] if self.whole.is_usable else list(self.pieces.values()) if self.kind == "empty" else []
        return not targets or any(target.gradients.reaches(variable) for target in targets)

    # -- words and code ----------------------------------------------------------------------------------------------

    def takes_strings(self) -> bool:
        """Whether any input takes strings."""
        targets = [self.whole] if self.whole.is_usable else list(self.pieces.values())
        inputs = [trace.inputs for target in targets for trace in target.traces]
        inputs += [signature.inputs for signature in self.signatures.values()]
        return any(spec.dtype == "string" for spec in flatten(inputs))

    def all_python_ops(self) -> tuple[str, ...]:
        """Names of all ops that run Python code in what can be called."""
        targets = [self.whole, *(self.pieces.values() if self.kind == "empty" else ())]
        return tuple(sorted({op for target in targets for names in target.python_ops.values() for op in names}))

    def arguments(self) -> dict[str, Any] | str:
        """The arguments of `HubLayer` with which it can be used; a `str` says why there are none."""
        if self._contents.not_loadable:
            return f"TensorFlow 2 cannot load it: {self._contents.not_loadable}"
        used, python_ops = self._used, self.whole.python_ops
        piece = self._full_name(self._used_piece)
        if self.kind == "empty" and piece is None and self.all_python_ops():
            return usage.python_reason(self.all_python_ops())
        tunable = used.verdict.fine_tunable
        arguments = usage.choose_arguments(self.kind, tunable, used.modes, self.signatures, python_ops, piece)
        return arguments if isinstance(arguments, str) else self._with_tags(arguments)

    def fine_tuning_arguments(self) -> dict[str, Any] | None:
        """The arguments with which it, or a piece of it, can be fine-tuned; `None` if it cannot."""
        name = self._tuned_piece or self._used_piece
        target = self.whole if name is None else self.pieces[name]
        if target.verdict.arguments is None or target.python_ops[""] or self._contents.not_loadable:
            return None
        piece = self._full_name(name)
        return self._with_tags({**({} if piece is None else {"piece": piece}), **target.verdict.arguments})

    def reason(self) -> str:
        """Why it can be fine-tuned, or why not."""
        whole = self.whole
        if whole.is_usable and whole.python_ops[""]:
            reason = usage.python_reason(whole.python_ops[""])
        elif self._used_piece is None:
            reason = whole.verdict.reason
        else:
            verdict = self.pieces[self._used_piece].verdict
            if verdict.fine_tunable:
                return f"it cannot be called itself, but its {self._tunable(self._used_piece)}"
            return f"it cannot be called itself; of its piece {self._used_piece!r}: {verdict.reason}"
        if self._tuned_piece is None:
            return reason
        return f"{reason}; its {self._tunable(self._tuned_piece)}"

    def _tunable(self, piece: str) -> str:
        return f"piece {piece!r} can be fine-tuned: {self.pieces[piece].verdict.reason}"

    def _full_name(self, piece: str | None) -> str | None:
        """The full name of a piece of what is described, or of that itself."""
        return ".".join(filter(None, (self._piece, piece))) or None

    def _with_tags(self, arguments: dict[str, Any]) -> dict[str, Any]:
        tags = self._source.tags_to_give if self._source else None
        return arguments if tags is None else {**arguments, "tags": list(tags)}
