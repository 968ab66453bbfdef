"""inspect(handle or object) -> Interface: pure data about what can be called, trained and lost."""

import dataclasses
import os
from typing import Any

from keras_hub_layers._src.inspect.interface import Interface
from keras_hub_layers._src.inspect.requirements import requirements
from keras_hub_layers._src.inspect.variable_infos import extent, group_infos, variable_infos
from keras_hub_layers._src.inspect.verdicts import usage
from keras_hub_layers._src.inspect.verdicts.description import Description
from keras_hub_layers._src.public import public
from keras_hub_layers._src.resolve import handles, resolve
from keras_hub_layers._src.savedmodel import meta_graphs, missing_files
from keras_hub_layers._src.savedmodel.contents import Contents
from keras_hub_layers._src.savedmodel.protos import object_graph, tf1_graph
from keras_hub_layers._src.savedmodel.protos.specs import kind_of
from keras_hub_layers._src.savedmodel.source import Source, describe_source, source_of

__all__ = ["inspect"]


@public()
def inspect(handle_or_object: Any, tags: Any = None) -> Interface:
    """Describe what a SavedModel takes, gives and trains.

    The SavedModel of a handle is read and not loaded. That takes a fraction of a second, imports neither TensorFlow nor
    Keras, and also works if ops are missing.

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
        interface = getattr(obj, "interface", None)
        if isinstance(interface, Interface):  # of a HubLayer
            return interface
        return _inspect_object(obj)
    directory = resolve.resolve(obj)
    graph = meta_graphs.select_graph(directory, os.fspath(obj), tags)
    interface = _of_graph(graph, describe_source(directory, os.fspath(obj), tags, graph))
    return _without_files(interface, missing_files.missing_files(directory, [graph]))


def of_files(directory: str, source: Source) -> Interface:
    """The interface of an object that was loaded from a source, read from a copy of its files: faster than from it.

    Args:
        directory: Where the copy is.
        source: Where the object came from.
    """
    return _of_graph(meta_graphs.select_graph(directory, source.handle, source.tags), source)


def _of_graph(graph: Any, source: Source) -> Interface:
    return _describe(source, object_graph.read(graph, source.custom_ops))


def of_piece(obj: Any, name: str) -> Interface:
    """The interface of a piece of a loaded object, with the code that makes a layer of the piece.

    Args:
        obj: The loaded object.
        name: Dotted name of the piece.
    """
    from keras_hub_layers._src.savedmodel import live_object
    from keras_hub_layers._src.savedmodel.pruning import pruned_object

    graph = pruned_object.saved_graph(obj)
    if graph is not None:
        return _describe(source_of(obj), object_graph.read(graph).piece(name), name)
    return _describe(source_of(obj), live_object.read(live_object.piece(obj, name)), name)


def _inspect_object(obj: Any) -> Interface:
    from keras_hub_layers._src.savedmodel import live_object  # not at the top: they import TensorFlow
    from keras_hub_layers._src.savedmodel.pruning import pruned_object

    if not live_object.is_object(obj) or kind_of(obj):
        handles.parse(obj)  # says which forms there are
    graph = pruned_object.saved_graph(obj)
    source, contents = source_of(obj), live_object.read(obj) if graph is None else object_graph.read(graph)
    if source is not None and source.format != "tf2":
        nodes = [op.node_def for op in obj.graph.get_operations() if op.type in tf1_graph.REFERENCES]
        contents = dataclasses.replace(contents, variables=tf1_graph.with_references(contents.variables, nodes))
    interface = _describe(source, contents)
    if any(base.__module__.startswith("keras.") for base in type(obj).__mro__):
        return _without_code(interface, "it is a layer of Keras 3: use itself, or keras_hub_layers.export it")
    return interface


def _without_files(interface: Interface, missing: list[str]) -> Interface:
    """The interface of a SavedModel some of whose files are missing."""
    if not missing:
        return interface
    reason = missing_files.why_unusable(missing)
    return dataclasses.replace(
        _without_code(interface, reason), fine_tunable=False, reason=reason, missing_files=tuple(missing)
    )


def _without_code(interface: Interface, reason: str) -> Interface:
    return dataclasses.replace(interface, code=f"({reason})", arguments=None, fine_tuning_code="")


def _describe(source: Source | None, contents: Contents, piece: str | None = None) -> Interface:
    """The interface of an object, or of its piece of that name."""
    description = Description(source, contents, piece)
    whole, variables = description.whole, description.variables
    infos = variable_infos(variables, description.is_reached)
    listed = infos.values()
    arguments, fine_tuning = description.arguments(), description.fine_tuning_arguments()
    handle = handles.display(source.handle) if source else ""
    calls = description.modes, description.keyword_inputs
    return Interface(
        handle=handle,
        tags=source.graph_tags if source else (),
        format=description.kind,
        producer=source.origin if source else "",
        tf_version=source.tf_version if source else "",
        callable=whole.is_usable,
        accepts_training=whole.modes.accepts,
        training_modes=whole.training_modes,
        traces=whole.traces,
        signatures=description.signatures,
        variables=tuple(listed),
        groups=group_infos(infos, variables, description.functions),
        sizes={
            "all": extent(listed),
            "published": extent(v for v in listed if v.published),
            "trainable": extent(v for v in listed if v.trainable and v.gradient),
        },
        regularization_losses=len(contents.losses),
        pieces=tuple(contents.pieces),
        piece_traces={} if whole.is_usable else {name: target.traces for name, target in description.pieces.items()},
        assets=tuple(contents.assets),
        string_inputs=description.takes_strings(),
        missing_ops=tuple(contents.missing_ops),
        missing_files=(),
        python_ops=description.all_python_ops(),
        requires=requirements(source.custom_ops, source.custom_types) if source else (),
        pixel_range=whole.pixel_range(),
        jit=whole.jit(usage.first_signature(description.signatures)),
        fine_tunable=whole.verdict.fine_tunable and isinstance(arguments, dict),
        reason=description.reason(),
        code=f"({arguments})" if isinstance(arguments, str) else usage.write_code(handle, arguments, *calls),
        arguments=None if isinstance(arguments, str) else arguments,
        fine_tuning_code="" if fine_tuning is None else usage.write_code(handle, fine_tuning, *calls),
    )
