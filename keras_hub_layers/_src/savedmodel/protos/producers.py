"""Which program wrote a SavedModel, as the names in its object graph show."""

from typing import Any

# What the object graph of each program has below its root.
_MARKS = (
    ("keras_hub_layers", {"regularization_losses", "_resources", "_state"}),
    ("keras3_export", {"non_trainable_variables", "_misc_assets"}),
    ("keras3", {"_losses_override", "_loss_ids"}),
)


_WORDS = {
    "": "written by {}",
    "keras2": "saved from a Keras 2 model by {}",
    "keras2_layers": "saved by {} with Keras 2 layers inside",
    "keras3": "saved from a Keras 3 model by tf.saved_model.save, {}",
    "keras3_export": "exported by Keras 3 with {}",
    "keras_hub_layers": "exported by keras_hub_layers with {}",
    "tensorflow": "saved by {}",
    "tf1": "saved by {}",
    "tf1_hub": "saved by {}",
}


def origin(meta_graph: Any, is_hub_module: bool = False) -> str:
    """The program that wrote a graph.

    Args:
        meta_graph: A protobuf of type `MetaGraphDef`.
        is_hub_module: Whether the directory has the marker file of the TF1 Hub format. Defaults to `False`.

    Returns:
        `"keras2"`, `"keras2_layers"` (plain TensorFlow code with Keras 2 layers inside), `"keras3"`,
        `"keras3_export"`, `"keras_hub_layers"`, `"tensorflow"`, `"tf1"` or `"tf1_hub"`.
    """
    if is_hub_module:
        return "tf1_hub"
    if not meta_graph.HasField("object_graph_def"):
        return "tf1"
    nodes = meta_graph.object_graph_def.nodes
    if _is_keras2(nodes[0]):
        return "keras2"
    names = {child.local_name for child in nodes[0].children}
    for name, marks in _MARKS:
        if marks <= names:
            return name
    return "keras2_layers" if any(_is_keras2(node) for node in nodes) else "tensorflow"


def in_words(name: str, tf_version: str) -> str:
    """An origin as part of a sentence; `""` where nothing is known."""
    if not name and not tf_version:
        return ""
    return _WORDS[name].format(f"TensorFlow {tf_version}".rstrip())


def _is_keras2(node: Any) -> bool:
    return node.user_object.identifier.startswith("_tf_keras_")
