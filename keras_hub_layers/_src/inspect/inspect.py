"""inspect(handle or object) -> Interface: pure data about what can be called, trained and lost."""

import dataclasses
import os
import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from keras_hub_layers._src.inspect import fine_tunable as fine_tunable_lib
from keras_hub_layers._src.inspect import usage, variable_groups
from keras_hub_layers._src.inspect.interface import Interface
from keras_hub_layers._src.inspect.records import Extent, GroupInfo, Requirement, SignatureInfo, TraceInfo, VariableInfo
from keras_hub_layers._src.inspect.specs import Spec, flatten, spec_of
from keras_hub_layers._src.public import public
from keras_hub_layers._src.resolve import handles, resolve
from keras_hub_layers._src.savedmodel import contents, live_object, meta_graphs, missing_files, object_graph
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers._src.savedmodel.contents import name_of
from keras_hub_layers._src.savedmodel.graphs import op_packages
from keras_hub_layers._src.savedmodel.live_object import plan_of

__all__ = ["inspect"]


_FLAG = re.compile(r"(is_)?(train|training)(_mode)?|trainable")


@public()
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
        if not live_object.is_object(obj) or tf.is_tensor(obj):
            handles.parse(obj)  # says which forms there are
        return _of_object(obj)
    directory = resolve.resolve(obj)
    graph = meta_graphs.select_graph(directory, os.fspath(obj), tags)
    plan = object_graph.read(graph)
    lost = missing_files.missing_files(directory, [graph])
    return _incomplete(_describe(source_lib.describe_source(directory, os.fspath(obj), tags, graph), plan), lost)


def of_piece(obj: Any, name: str) -> Interface:
    """The interface of a piece of a loaded object, with the code that makes a layer of the piece.

    Args:
        obj: The loaded object.
        name: Dotted name of the piece.
    """
    return _describe(source_lib.source_of(obj), plan_of(live_object.piece(obj, name)), name)


def _of_object(obj: Any) -> Interface:
    source, plan = source_lib.source_of(obj), plan_of(obj)
    if source is not None and source.format != "tf2":
        nodes = [op.node_def for op in obj.graph.get_operations() if op.type in object_graph.REFERENCES]
        plan = dataclasses.replace(plan, variables=object_graph.with_references(plan.variables, nodes))
    info = _describe(source, plan)
    if any(base.__module__.startswith("keras.") for base in type(obj).__mro__):
        return dataclasses.replace(info, code="(it is a layer of Keras 3: use itself, or keras_hub_layers.export it)")
    return info


def _describe(source: source_lib.Source | None, plan: contents.Blueprint, piece: str | None = None) -> Interface:
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
    fine_tunable, reason = fine_tunable_lib.verdict(kind, variables, runs, contents.blocking(function))
    if fine_tunable and plan.input_losses == "lost":
        reason += "; its layers have losses that depend on inputs, which nothing in it returns: they are not counted"
    tunable = fine_tunable
    if kind == "empty" and plan.pieces:  # what can be used are its pieces
        parts = {name: plan.piece(name) for name in plan.pieces}
        functions = tuple(part.function for part in parts.values() if part.function)
        variables = contents.together([part.variables for part in parts.values()])
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


def _runs(function: contents.Function | None, traces: Iterable[TraceInfo]) -> fine_tunable_lib.Runs:
    names = function.parameters if function and not function.accepts_training else ()
    flag = next((name for name in names if _FLAG.fullmatch(name)), "")
    return fine_tunable_lib.Runs(
        bool(function and function.accepts_training), tuple(trace.training for trace in traces), flag
    )


def _incomplete(info: Interface, lost: list[str]) -> Interface:
    """The interface of a SavedModel some of whose files are missing."""
    if not lost:
        return info
    reason = missing_files.verdict(lost)
    return dataclasses.replace(info, fine_tunable=False, reason=reason, code=f"({reason})")


def _best_piece(parts: dict[str, contents.Blueprint]) -> tuple[str | None, bool, fine_tunable_lib.Runs, str]:
    """Of the pieces of what cannot be called itself: the one to use, whether and how it is trained, and in words."""
    found = []
    for name, part in parts.items():
        function = part.function
        if function is None or not function.is_usable():
            continue
        traces = [_trace_info(trace) for trace in function.usable_traces]
        runs = _runs(function, traces)
        found.append(
            (name, *fine_tunable_lib.verdict("reusable", part.variables, runs, contents.blocking(function)), runs)
        )
    if not found:
        return None, False, fine_tunable_lib.Runs(False, ()), "it has nothing that can be called"
    name, tunable, reason, runs = next((one for one in found if one[1]), found[0])
    words = f"it cannot be called itself, but its piece {name!r} can be fine-tuned: {reason}"
    if not tunable:
        words = f"it cannot be called itself; of its piece {name!r}: {reason}"
    return name, tunable, runs, words


def _format(source: Any, usable: bool, signatures: dict[str, Any]) -> str:
    if source is not None and source.format != "tf2":
        return source.format
    return "reusable" if usable else "signatures" if signatures else "empty"


def _trace_info(trace: contents.Trace) -> TraceInfo:
    arguments = {name: spec_of(value) for name, value in trace.arguments.items()}
    training = arguments.pop("training", None)
    return TraceInfo(
        inputs=spec_of(trace.inputs),
        outputs=spec_of(trace.outputs),
        training="tensor" if isinstance(training, Spec) else training,
        arguments={name: value for name, value in arguments.items() if value is not None},
    )


def _signature_info(trace: contents.Trace) -> SignatureInfo:
    return SignatureInfo(inputs=spec_of(trace.inputs), outputs=spec_of(trace.outputs))


def _variable_infos(variables: contents.Variables) -> dict[int, VariableInfo]:
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
    infos: dict[int, VariableInfo], variables: contents.Variables, functions: tuple[contents.Function, ...]
) -> tuple[GroupInfo, ...]:
    traces = [trace for function in functions for trace in function.traces]
    ordered = variable_groups.in_order_of_use((*variables.published, *variables.captured), traces)
    found = []
    for name, places in variable_groups.partition([name_of(v) for v in ordered]).items():
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
    needed: dict[op_packages.Package, list[str]] = {}
    for op in custom_ops:
        package = op_packages.package_of(op)
        if package is not None:
            needed.setdefault(package, []).append(op)
    return tuple(
        Requirement(package.pip, package.module, tuple(names), package.advice(tf.__version__))
        for package, names in needed.items()
    )


def _jit(source: source_lib.Source | None, entry: str | None) -> str:
    hindrances = dict(source.not_compiled).get(entry, ()) if source and entry is not None else ()
    return "no: " + ", ".join(hindrances) if hindrances else "unknown"
