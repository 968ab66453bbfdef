"""An Interface in words: the rows of the table that `inspect` prints."""

from collections.abc import Iterator, Sequence
from typing import Any

from keras_hub_layers._src.inspect.specs import describe, flatten
from keras_hub_layers._src.savedmodel.protos import producers
from keras_hub_layers._src.text import tables, words
from keras_hub_layers._src.text.tables import Row

FORMATS = {
    "reusable": "Reusable SavedModel",
    "signatures": "signatures only",
    "tf1": "TF1 SavedModel",
    "tf1_hub": "TF1 Hub format",
    "empty": "nothing that can be called",
}


_LABEL = 14  # columns of the longest label, "fine-tunable", and of what stands between


_FEW = 12  # variables that are listed one by one; more are folded into their groups


_NAME = 51  # characters of a variable's or group's name in 80 columns


_MANY = 30  # lines of one row


def table(interface: Any, width: int = tables.WIDTH) -> tables.Table:
    """The table of an `Interface`.

    Args:
        interface: The `Interface`.
        width: Columns that it may take. Lines of code stay whole, however long they are. Defaults to 80.
    """
    return tables.Table(_rows(interface, width - _LABEL))


def _rows(info: Any, width: int) -> Iterator[Row]:
    origin = producers.in_words(info.producer, info.tf_version)
    yield Row("handle", (info.handle or "(an object in this process)",))
    yield Row("format", tables.wrap(", ".join(filter(None, (format_of(info), origin))), width))
    if info.tags:
        yield Row("tags", (", ".join(info.tags),))
    verdict = ("yes: " if info.fine_tunable else "no: ") + info.reason
    yield Row("fine-tunable", tables.wrap(verdict, width), "good" if info.fine_tunable else "warn")
    code = tables.wrap(info.code, width) if info.arguments is None else (info.code,)
    yield Row("use it as", code, "code")
    if info.fine_tuning_code not in ("", info.code):
        yield Row("tune it as", (info.fine_tuning_code,), "code")
    if info.python_ops:
        yield Row("Python code", tables.wrap(_python(info.python_ops), width), "bad")
    if info.missing_ops:
        yield Row("missing ops", tables.wrap(", ".join(info.missing_ops), width), "bad")
    for need in info.requires:
        yield Row("needs", tables.wrap(f"{need.package}, for {', '.join((*need.ops, *need.types))}", width))
        yield Row("", (need.advice,), "code")
    yield Row("")
    yield from _calls(info, width)
    yield from _signatures(info, width)
    if info.pixel_range:
        yield Row("pixels", tables.wrap(info.pixel_range, width))
    yield Row("pieces", tables.wrap(", ".join(info.pieces) or "none", width))
    if info.piece_traces:
        yield Row("piece calls", _piece_calls(info, width))
    yield Row("assets", tables.wrap(", ".join(info.assets) or "none", width))
    yield Row("losses", (f"{info.regularization_losses} for regularization" if info.regularization_losses else "none",))
    yield Row("strings", tables.wrap(_strings(info), width))
    known = info.jit if info.jit != "unknown" else "unknown: no op is known to hinder it (jit=True tries it)"
    yield Row("XLA", tables.wrap(known, width))
    yield Row("")
    yield from _variables(info, width)


def format_of(info: Any) -> str:
    """The format in words."""
    return "pieces only" if info.format == "empty" and info.pieces else FORMATS[info.format]


def _calls(info: Any, width: int) -> Iterator[Row]:
    if not info.callable:
        yield Row("call", ("it cannot be called itself",))
        return
    calls = dict.fromkeys((_flow(t.inputs, t.outputs, width), _arguments(t.arguments)) for t in info.traces)
    lines = [line for flow, fixed in calls for line in (*flow, *((f"  with {fixed}",) if fixed else ()))]
    yield Row("call", tables.fold(lines, _MANY, "more lines") or ("any input: it was not traced yet",))
    if not info.accepts_training:
        mode = "no such argument: one mode for training and inference"
    elif any(trace.training == "tensor" for trace in info.traces):
        mode = "a tensor: both modes"
    else:
        mode = "traced for " + (" and ".join(str(mode) for mode in info.training_modes) or "no mode")
    yield Row("training", tables.wrap(mode, width))


def _signatures(info: Any, width: int) -> Iterator[Row]:
    lines: list[str] = []
    for name, signature in info.signatures.items():
        lines += [name, *("  " + line for line in _flow(signature.inputs, signature.outputs, width - 2))]
    yield Row("signatures", tables.fold(lines, _MANY, "more lines") or ("none",))


def _piece_calls(info: Any, width: int) -> tuple[str, ...]:
    lines: list[str] = []
    for name, traces in info.piece_traces.items():
        calls = dict.fromkeys(_flow(trace.inputs, trace.outputs, width - 2) for trace in traces)
        lines += [name, *("  " + line for flow in calls for line in flow)]
    return tuple(tables.fold(lines, _MANY, "more lines"))


def _python(names: tuple[str, ...]) -> str:
    return f"{', '.join(names)}: works only in the process that saved the SavedModel"


def _flow(inputs: Any, outputs: Any, width: int) -> tuple[str, ...]:
    """Inputs and outputs in one line if they fit, else a line for each tensor."""
    line = f"{describe(inputs)} -> {describe(outputs)}"
    if len(line) <= width:
        return (line,)
    entering = tables.fold(entries(inputs, width), _FEW, "more")
    leaving = tables.fold(entries(outputs, width - 3), _FEW, "more")
    return (*entering, *(("-> " if place == 0 else "   ") + line for place, line in enumerate(leaving)))


def entries(nest: Any, width: int = tables.WIDTH) -> list[str]:
    """Inputs or outputs, one a line; a long one takes several."""
    if isinstance(nest, dict) and nest:
        named = {str(key): describe(value) for key, value in nest.items()}
        longest = max(map(len, named))
        return [line for name, text in named.items() for line in _entry(name, longest, text, width)]
    if isinstance(nest, (list, tuple)):
        return [f"[{place}]  {describe(value)}" for place, value in enumerate(nest)]
    return [describe(nest)]


def _entry(name: str, longest: int, text: str, width: int) -> list[str]:
    """A name and its text, in a column of its own where that fits, else behind or below the name."""
    if longest + 2 + len(text) <= width:
        return [f"{name:<{longest}}  {text}"]
    return [f"{name}  {text}"] if len(name) + 2 + len(text) <= width else [name, f"  {text}"]


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={describe(value)}" for name, value in arguments.items())


def _strings(info: Any) -> str:
    takers = ["the call"] if any(_takes_strings(trace.inputs) for trace in info.traces) else []
    takers += [f"the signature {name!r}" for name, one in info.signatures.items() if _takes_strings(one.inputs)]
    for name, traces in info.piece_traces.items():
        takers += [f"the piece {name!r}"] if any(_takes_strings(trace.inputs) for trace in traces) else []
    return f"taken by {', '.join(takers)}" if takers else "no input takes strings"


def _takes_strings(inputs: Any) -> bool:
    return any(spec.dtype == "string" for spec in flatten(inputs))


def _variables(info: Any, width: int) -> Iterator[Row]:
    head = ("", "variables", "parameters", "MB")
    sizes = [(name, f"{s.variables:,}", f"{s.parameters:,}", megabytes(s.size)) for name, s in info.sizes.items()]
    yield Row("size", tables.align_columns([head, *sizes]))
    if not info.variables:
        return
    if len(info.variables) <= _FEW:
        states = {(True, True): "trainable", (False, True): "published", (False, False): "not published"}
        rows = [
            (v.name, f"{v.dtype} {format_shape(v.shape)}", states[v.trainable, v.published] + _without_gradient(v))
            for v in info.variables
        ]
        yield Row("variables", tables.align_columns(_with_short_names(rows, width), left=3))
        return
    is_narrow = width < tables.WIDTH - _LABEL
    head = ("", "vars", "params", "MB", "tuned") if is_narrow else ("", "variables", "parameters", "MB", "trainable")
    rows = [
        (g.name, f"{len(g.variables):,}", f"{g.parameters:,}", megabytes(g.size), f"{g.trainable:,}")
        for g in info.groups
    ]
    first, *lines = tables.align_columns(_with_short_names([head, *rows], width))
    yield Row("groups", (first, *tables.fold(lines, _MANY, "more groups (--json lists all)")))


def _with_short_names(rows: Sequence[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    """Rows of which the first cells, names, are shortened: to what a narrow or a wide table leaves them."""
    others = sum(2 + max(map(len, cells)) for cells in list(zip(*rows, strict=True))[1:])
    limit = max(width - others, _NAME if width >= tables.WIDTH - _LABEL else 12)
    return [(name if len(name) <= limit else words.shorten(name, limit - 3), *cells) for name, *cells in rows]


def _without_gradient(variable: Any) -> str:
    return ", no gradient" if variable.trainable and not variable.gradient else ""


def format_shape(shape: Any) -> str:
    """A shape, `None` for one whose rank is unknown."""
    return "(…)" if shape is None else str(shape)


def megabytes(size: int) -> str:
    """Bytes in MB of 10⁶ bytes."""
    return "<0.01" if 0 < size < 10_000 else f"{size / 1e6:,.2f}"
