"""inspect(handle or object) -> Interface: pure data about what can be called, trained and lost."""

import dataclasses
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_hub_layers import blueprint, damage, handles, loaded, loader, naming, overview, packages, resolvers, usage
from keras_hub_layers.records import Extent, GroupInfo, Requirement, SignatureInfo, TraceInfo, VariableInfo
from keras_hub_layers.tensors import Spec, flatten, spec_of

__all__ = [
    "Extent",
    "GroupInfo",
    "Interface",
    "Requirement",
    "SignatureInfo",
    "Spec",
    "TraceInfo",
    "VariableInfo",
    "inspect",
    "name_of",
]


_FLAG = re.compile(r"(is_)?(train|training)(_mode)?|trainable")


@dataclass(frozen=True)
class Interface:
    """What a SavedModel offers. Comparable and picklable; `str()` gives a table, `to_dict()` JSON.

    Attributes:
        handle: The handle as given, without passwords; `""` for an object that was not loaded from one.
        format: `"reusable"`, `"signatures"`, `"tf1"`, `"tf1_hub"` or `"empty"`.
        producer: The program that wrote it, `"keras2"`, `"keras2_layers"` (TensorFlow code with Keras 2 layers inside),
            `"keras3"`, `"keras3_export"`, `"keras_hub_layers"`, `"tensorflow"`, `"tf1"`, `"tf1_hub"`; `""` if unknown.
        tf_version: The TensorFlow that wrote it; `""` if unknown.
        callable: Whether the object itself can be called with one input.
        accepts_training: Whether its function has a `training` argument.
        training_modes: The values of `training` that were traced, a tuple of `bool`.
        traces: Tuple of `TraceInfo`.
        signatures: Name to `SignatureInfo`.
        variables: Tuple of `VariableInfo`.
        groups: Tuple of `GroupInfo`, from the input to the output.
        sizes: `"all"`, `"published"` and `"trainable"`, each to an `Extent`.
        regularization_losses: Number of published losses.
        pieces: Names of the named callables.
        assets: File names of the assets.
        string_inputs: Whether any input takes strings.
        missing_ops: Names of ops that the running TensorFlow does not have.
        requires: Tuple of `Requirement`: packages to import before loading, whether or not they are installed.
        jit: Whether XLA can compile what the object computes: `"no: "` and what hinders it, or `"unknown"`. `HubLayer`
            keeps `supports_jit` at `False` in both cases.
        fine_tunable: Whether `HubLayer(handle, trainable=True)` trains it.
        reason: Why, or why not.
        code: A line to paste.
    """

    handle: str
    format: str
    producer: str
    tf_version: str
    callable: bool
    accepts_training: bool
    training_modes: tuple[bool, ...]
    traces: tuple[TraceInfo, ...]
    signatures: dict[str, SignatureInfo]
    variables: tuple[VariableInfo, ...]
    groups: tuple[GroupInfo, ...]
    sizes: dict[str, Extent]
    regularization_losses: int
    pieces: tuple[str, ...]
    assets: tuple[str, ...]
    string_inputs: bool
    missing_ops: tuple[str, ...]
    requires: tuple[Requirement, ...]
    jit: str
    fine_tunable: bool
    reason: str
    code: str

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and scalars, for JSON."""
        return _plain(dataclasses.asdict(self))

    def __str__(self) -> str:
        return str(overview.table(self))

    def __rich__(self) -> Any:
        return overview.table(self).rich()

    def _repr_html_(self) -> str:
        return overview.table(self).html()


def inspect(handle_or_object: Any, tags: Any = None) -> Interface:
    """Say what a SavedModel offers.

    A handle is read, not loaded: that takes a fraction of a second and works also where ops are missing.

    Args:
        handle_or_object: A handle as `keras_hub_layers.resolve` takes it, or a loaded or in-process object.
        tags: As in `keras_hub_layers.load`. Defaults to `None`.

    Returns:
        An `Interface`.

    Raises:
        errors.HubError: The handle cannot be resolved, or the directory holds no readable SavedModel.

    Example:

    ```python
    import keras_hub_layers as khl

    print(khl.inspect("./my_saved_model"))
    ```
    """
    obj = handle_or_object
    if not isinstance(obj, (str, os.PathLike)):
        described = getattr(obj, "interface", None)
        if isinstance(described, Interface):  # of a HubLayer
            return described
        if not loaded.is_object(obj) or tf.is_tensor(obj):
            handles.parse(obj)  # says which forms there are
        return _of_object(obj)
    directory = resolvers.resolve(obj)
    graph = loader.select_graph(directory, os.fspath(obj), tags)
    plan = blueprint.read(graph)
    lost = damage.missing_files(directory, [graph])
    return _incomplete(_describe(loader.describe_source(directory, os.fspath(obj), tags, graph), plan), lost)


def of_piece(obj: Any, name: str) -> Interface:
    """The interface of a piece of a loaded object, with the code that makes a layer of the piece.

    Args:
        obj: The loaded object.
        name: Dotted name of the piece.
    """
    return _describe(loader.source_of(obj), _plan_of(loaded.piece(obj, name)), name)


def _of_object(obj: Any) -> Interface:
    source, plan = loader.source_of(obj), _plan_of(obj)
    if source is not None and source.format != "tf2":
        nodes = [op.node_def for op in obj.graph.get_operations() if op.type in blueprint.REFERENCES]
        plan = dataclasses.replace(plan, variables=blueprint.with_references(plan.variables, nodes))
    info = _describe(source, plan)
    if any(base.__module__.startswith("keras.") for base in type(obj).__mro__):
        return dataclasses.replace(info, code="(it is a layer of Keras 3: use itself, or keras_hub_layers.export it)")
    return info


def _plan_of(obj: Any) -> blueprint.Blueprint:
    function, signatures = loaded.call_function(obj), loaded.signatures(obj)
    functions = ((function,) if function else ()) + tuple(signatures.values())
    return blueprint.Blueprint(
        function=function,
        signatures=signatures,
        variables=loaded.variables(obj, functions),
        losses=len(loaded.losses(obj)),
        pieces=loaded.pieces(obj),
        assets=loaded.assets(obj),
        missing_ops=[],
        piece=lambda name: _plan_of(loaded.piece(obj, name)),
    )


def _describe(source: loader.Source | None, plan: blueprint.Blueprint, piece: str | None = None) -> Interface:
    function, variables = plan.function, plan.variables
    usable = function is not None and function.is_usable()
    kind = _format(source, usable, plan.signatures)
    functions = (function,) if function and usable else tuple(plan.signatures.values())
    traces = tuple(_trace_info(trace) for trace in function.usable_traces) if function and usable else ()
    modes = tuple(sorted({t.training for t in traces if isinstance(t.training, bool)}))
    if any(t.training == "tensor" for t in traces):
        modes = (False, True)
    infos = {name: _signature_info(f.traces[0]) for name, f in plan.signatures.items()}
    handle = handles.display(source.handle) if source else ""
    accepts = bool(function and function.accepts_training)
    runs = _runs(function, traces)
    fine_tunable, reason = usage.verdict(kind, variables, runs, loaded.blocking(function))
    tunable = fine_tunable
    if kind == "empty" and plan.pieces:  # what can be used are its pieces
        parts = {name: plan.piece(name) for name in plan.pieces}
        functions = tuple(part.function for part in parts.values() if part.function)
        variables = loaded.together([part.variables for part in parts.values()])
        piece, tunable, runs, reason = _best_piece(parts)
    inputs = [t.inputs for t in traces] + [i.inputs for i in infos.values()]
    described = _variable_infos(variables)
    return Interface(
        handle=handle,
        format=kind,
        producer=source.origin if source else "",
        tf_version=source.tf_version if source else "",
        callable=usable,
        accepts_training=accepts,
        training_modes=modes,
        traces=traces,
        signatures=infos,
        variables=tuple(described.values()),
        groups=_groups(described, variables, functions),
        sizes={
            "all": _extent(described.values()),
            "published": _extent(v for v in described.values() if v.published),
            "trainable": _extent(v for v in described.values() if v.trainable),
        },
        regularization_losses=plan.losses,
        pieces=tuple(plan.pieces),
        assets=tuple(plan.assets),
        string_inputs=any(spec.dtype == "string" for spec in flatten(inputs)),
        missing_ops=tuple(plan.missing_ops),
        requires=_requirements(source.custom_ops if source else ()),
        jit=_jit(source, "" if usable else usage.first_signature(infos)),
        fine_tunable=fine_tunable,
        reason=reason,
        code=usage.code(
            handle or "path/to/saved_model",
            usage.arguments(kind, tunable, infos, runs, piece, source.tags_to_give if source else None),
            usage.note(tunable, runs),
        ),
    )


def _runs(function: loaded.Function | None, traces: Iterable[TraceInfo]) -> usage.Runs:
    names = function.parameters if function and not function.accepts_training else ()
    flag = next((name for name in names if _FLAG.fullmatch(name)), "")
    return usage.Runs(bool(function and function.accepts_training), tuple(trace.training for trace in traces), flag)


def _incomplete(info: Interface, lost: list[str]) -> Interface:
    """The interface of a SavedModel some of whose files are missing."""
    if not lost:
        return info
    reason = damage.verdict(lost)
    return dataclasses.replace(info, fine_tunable=False, reason=reason, code=f"({reason})")


def _best_piece(parts: dict[str, blueprint.Blueprint]) -> tuple[str | None, bool, usage.Runs, str]:
    """Of the pieces of what cannot be called itself: the one to use, whether and how it is trained, and in words."""
    found = []
    for name, part in parts.items():
        function = part.function
        if function is None or not function.is_usable():
            continue
        traces = [_trace_info(trace) for trace in function.usable_traces]
        runs = _runs(function, traces)
        found.append((name, *usage.verdict("reusable", part.variables, runs, loaded.blocking(function)), runs))
    if not found:
        return None, False, usage.Runs(False, ()), "it has nothing that can be called"
    name, tunable, reason, runs = next((one for one in found if one[1]), found[0])
    words = f"it cannot be called itself, but its piece {name!r} can be fine-tuned: {reason}"
    if not tunable:
        words = f"it cannot be called itself; of its piece {name!r}: {reason}"
    return name, tunable, runs, words


def name_of(variable: Any) -> str:
    """A variable's name in the SavedModel: slashes kept, without `:0`."""
    return variable.name.split(":")[0]


def _format(source: Any, usable: bool, signatures: dict[str, Any]) -> str:
    if source is not None and source.format != "tf2":
        return source.format
    return "reusable" if usable else "signatures" if signatures else "empty"


def _trace_info(trace: loaded.Trace) -> TraceInfo:
    arguments = {name: spec_of(value) for name, value in trace.arguments.items()}
    training = arguments.pop("training", None)
    return TraceInfo(
        inputs=spec_of(trace.inputs),
        outputs=spec_of(trace.outputs),
        training="tensor" if isinstance(training, Spec) else training,
        arguments={name: value for name, value in arguments.items() if value is not None},
    )


def _signature_info(trace: loaded.Trace) -> SignatureInfo:
    return SignatureInfo(inputs=spec_of(trace.inputs), outputs=spec_of(trace.outputs))


def _variable_infos(variables: loaded.Variables) -> dict[int, VariableInfo]:
    """id of each variable -> its description, the published ones first."""
    trainable = {id(v) for v in variables.trainable}
    published = {id(v) for v in variables.published}
    return {
        id(v): VariableInfo(
            name_of(v),
            None if v.shape.rank is None else tuple(v.shape.as_list()),
            v.dtype.name,
            id(v) in trainable,
            id(v) in published,
        )
        for v in (*variables.published, *variables.captured)
    }


def _groups(
    infos: dict[int, VariableInfo], variables: loaded.Variables, functions: tuple[loaded.Function, ...]
) -> tuple[GroupInfo, ...]:
    traces = [trace for function in functions for trace in function.traces]
    ordered = naming.in_order_of_use((*variables.published, *variables.captured), traces)
    found = []
    for name, places in naming.partition([name_of(v) for v in ordered]).items():
        members = [infos[id(ordered[place])] for place in places]
        tunable = [v for v in members if v.trainable]
        found.append(
            GroupInfo(
                name=name,
                variables=tuple(v.name for v in members),
                tunable=tuple(v.name for v in tunable),
                parameters=sum(v.parameters for v in members),
                size=sum(v.size for v in members),
                trainable=sum(v.parameters for v in tunable),
            )
        )
    return tuple(found)


def _extent(infos: Iterable[VariableInfo]) -> Extent:
    listed = list(infos)
    return Extent(len(listed), sum(v.parameters for v in listed), sum(v.size for v in listed))


def _requirements(custom_ops: Iterable[str]) -> tuple[Requirement, ...]:
    needed: dict[packages.Package, list[str]] = {}
    for op in custom_ops:
        package = packages.package_of(op)
        if package is not None:
            needed.setdefault(package, []).append(op)
    return tuple(
        Requirement(package.pip, package.module, tuple(names), package.advice(tf.__version__))
        for package, names in needed.items()
    )


def _jit(source: loader.Source | None, entry: str | None) -> str:
    hindrances = dict(source.not_compiled).get(entry, ()) if source and entry is not None else ()
    return "no: " + ", ".join(hindrances) if hindrances else "unknown"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
