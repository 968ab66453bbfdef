"""host_stage(): the part of a layer before its first variable, as a function for `tf.data`."""

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_hub_layers._src import sample_inputs
from keras_hub_layers._src.distribution.split_graph import Split, split_graph
from keras_hub_layers._src.inspect import specs
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public
from keras_hub_layers._src.savedmodel.graphs.parts import run_graph
from keras_hub_layers.errors import InterfaceError, add_place

__all__ = ["HostStage", "Stages", "host_stage", "stages_of"]


@dataclass(frozen=True, eq=False, repr=False)
class Stages:
    """The two parts of a layer.

    Attributes:
        spec: The specs of the inputs.
        splits: Mode -> how the graph of that mode is cut. All modes have the same part on the host.
        has_rows: Whether each output of the host has a row for each example.
        shapes: The shapes of the host's outputs, as far as they are known.
        lengths: Numbers of the host's outputs that are the number of examples. JAX needs to know it before it computes,
            so it is passed as the length of a tensor.
    """

    spec: Any
    splits: dict[bool, Split]
    has_rows: bool = False
    shapes: tuple[tf.TensorShape, ...] = ()
    lengths: frozenset[int] = frozenset()

    @functools.cached_property
    def passed(self) -> dict[Any, str]:
        """A description of how a tensor is computed -> its name on the host. Each description occurs once."""
        return {how: name for name, how in reversed(self.splits[False].passed.items())}

    @functools.cached_property
    def specs(self) -> list[tf.TensorSpec]:
        """The specs of the host's outputs."""
        by_name = dict(zip(self.splits[False].passed, self.splits[False].specs, strict=True))
        return [by_name[name] for name in self.passed.values()]

    @functools.cached_property
    def host(self) -> Callable[[Any], list[Any]]:
        """The function that computes the inputs of the device stage."""
        split = self.splits[False]

        def run(inputs: Any) -> list[Any]:
            leaves = tf.nest.flatten(inputs, expand_composites=True)
            feeds = {**dict(zip(split.inputs, leaves, strict=True)), **split.captures}
            return run_graph(split.host, feeds, list(self.passed.values()))

        return tf.function(run, input_signature=[self.spec], autograph=False)


@public("distribution")
class HostStage:
    """The result of `distribution.host_stage`: a function of a batch of inputs. Call it in `Dataset.map`."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        run = tf.function(self._run, input_signature=[stages.spec], autograph=False)
        self._concrete = run.get_concrete_function()
        self._call = run

    def __call__(self, inputs: Any) -> Any:
        return self._call(_as_traced(inputs, self._stages.spec))

    @property
    def specs(self) -> Any:
        """The specs of what a call returns: a `tf.TensorSpec`, or a dict of them."""
        given = self._concrete.structured_outputs
        if isinstance(given, dict):
            return {name: tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in given.items()}
        return tf.TensorSpec(given.shape, given.dtype, "part_0")

    def inputs(self) -> Any:
        """Keras inputs that fit the outputs of a call: `keras.Model(host.inputs(), ...)`."""
        return tf.nest.map_structure(_input, self.specs)

    def _run(self, inputs: Any) -> Any:
        stages = self._stages
        pairs = enumerate(zip(stages.host(inputs), stages.shapes, strict=True))
        parts = [
            tf.zeros([part], tf.int32) if number in stages.lengths else _with_shape(part, shape)
            for number, (part, shape) in pairs
        ]
        sizes = tf.stack([tf.shape(part, tf.int64)[0] for part in parts])
        if stages.has_rows:
            rows = tf.shape(tf.nest.flatten(inputs, expand_composites=True)[0], tf.int64)[0]
            check = tf.debugging.assert_equal(sizes, rows, "The host stage does not give one row per example.")
            with tf.control_dependencies([check]):
                parts = [tf.identity(part) for part in parts]
        named = {f"part_{number}": part for number, part in enumerate(parts)}
        if not stages.has_rows:
            named["sizes"] = sizes
        return named if len(named) > 1 else parts[0]


@public("distribution")
def host_stage(layer: keras.layers.Layer) -> HostStage:
    """The part of a `HubLayer` before its first variable, as a function for `tf.data`, such as from texts to ids.

    It runs on the host, in parallel with the training, and prepares the next batches. `distribution.device_stage` is
    the rest of the layer.

    Its outputs may have more or fewer rows than there are examples. Ragged values, for example, have a row for each
    word. A strategy cannot split such a batch over its replicas. If the batch was split, the device stage raises an
    error. Use `strategy.distribute_datasets_from_function` to give each replica batches of its own.

    Args:
        layer: A `HubLayer` with variables.

    Returns:
        A function of a batch of inputs, as the layer takes them. It returns a tensor of numbers, or a dict of such
        tensors. Its method `inputs()` makes Keras inputs for these.

    Raises:
        errors.InterfaceError: The graph cannot be cut there: it needs a text after the first variable, there is no
            variable, or the two modes differ before the first variable.

    Example:

    ```python
    import keras
    import tensorflow as tf
    from keras_hub_layers import distribution, layers

    layer = layers.HubLayer("path/to/saved_model", trainable=True)
    host, device = distribution.host_stage(layer), distribution.device_stage(layer)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    dataset = dataset.map(lambda inputs, targets: (host(inputs), targets)).prefetch(2)
    inputs = host.inputs()
    model = keras.Model(inputs, keras.layers.Dense(1)(device(inputs)))
    model.compile("adam", "mse")
    model.fit(dataset, shuffle=False)
    ```
    """
    return HostStage(stages_of(layer))


def _input(spec: Any) -> Any:
    return keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name, name=spec.name)


def _with_shape(part: Any, shape: tf.TensorShape) -> Any:
    """A tensor with what is known of its shape. A scalar becomes a vector, because `fit` takes no scalars."""
    part.set_shape(shape)
    return tf.reshape(part, [1]) if shape.rank == 0 else part


_stages: "weakref.WeakKeyDictionary[Any, Stages]" = weakref.WeakKeyDictionary()


def stages_of(layer: Any) -> Stages:
    """The two parts of a layer, cut once."""
    if layer not in _stages:
        with add_place(access.place(layer)):
            _stages[layer] = _cut(layer)
    return _stages[layer]


def _cut(layer: Any) -> Stages:
    function = access.function(layer)
    traces = function.usable_traces_with(access.fixed_arguments(layer))
    if not traces or function.is_signature or access.has_input_losses(layer):
        raise InterfaceError(
            "The layer has no graph that can be cut in two.",
            expected="a SavedModel with a traced __call__, and without losses that depend on its inputs",
            received="a signature" if function.is_signature else "such losses" if traces else "no trace",
            fix="# it trains as a whole:\nwith strategy.scope(): distribution.enable_fit(); model = ...",
        )
    takes_texts = [trace for trace in traces if tf.string in {spec.dtype for spec in tf.nest.flatten(trace.inputs)}]
    spec = (takes_texts or traces)[0].inputs
    modes = (False, True) if function.accepts_training and True in layer.interface.training_modes else (False,)
    splits = {mode: split_graph(layer, spec, mode) for mode in modes}
    known = set(splits[False].passed.values())
    if any(set(split.passed.values()) - known for split in splits.values()):
        raise InterfaceError(
            "The SavedModel computes something else before its first variable when it is trained.",
            expected="the same graph before the first variable, in training and in inference",
            received="graphs that differ there",
            fix="# in inference mode all the time:\nHubLayer(handle, trainable=True, arguments={'training': False})",
        )
    stages = Stages(spec, splits)
    samples = list(_run_on_samples(stages))
    shapes = dict(zip(splits[False].passed, (spec.shape for spec in splits[False].specs), strict=True))
    known = [shapes[name] for name in stages.passed.values()]
    if samples:
        known = [
            shape if shape.rank is not None else tf.TensorShape([None] * part.shape.rank)
            for shape, part in zip(known, samples[0][1], strict=True)
        ]
    has_rows = all(part.shape[:1] == [rows] for rows, parts in samples for part in parts) and len(samples) == 2
    return Stages(spec, splits, has_rows, tuple(known), _numbers_of_rows(samples))


def _numbers_of_rows(samples: list[tuple[int, list[Any]]]) -> frozenset[int]:
    """Which outputs of the host are the number of examples, on backends where that matters."""
    if keras.backend.backend() == "tensorflow" or len(samples) < 2:
        return frozenset()
    columns = enumerate(zip(*(parts for _, parts in samples), strict=True))
    return frozenset(
        number
        for number, column in columns
        if column[0].shape.rank == 0 and column[0].dtype.is_integer
        if all(int(part) == rows for part, (rows, _) in zip(column, samples, strict=True))
    )


def _run_on_samples(stages: Stages) -> Iterator[tuple[int, list[Any]]]:
    """(number of rows, outputs of the host) for made-up batches of two sizes. A batch that fails is left out."""
    if any(isinstance(spec, (tf.RaggedTensorSpec, tf.SparseTensorSpec)) for spec in tf.nest.flatten(stages.spec)):
        return
    inputs = sample_inputs.made_up(specs.spec_of(stages.spec))
    larger = tf.nest.map_structure(lambda tensor: tf.concat([tensor] * 3, 0) if tensor.shape.rank else tensor, inputs)
    for batch in (inputs, larger):
        with contextlib.suppress(tf.errors.OpError, ValueError, TypeError):  # a fixed batch, or texts of a special form
            yield tf.nest.flatten(batch)[0].shape[0], stages.host(batch)


def _as_traced(inputs: Any, spec: Any) -> Any:
    """Inputs as tensors of the traced dtypes, in the traced structure."""

    def convert(each: Any, value: Any) -> Any:
        if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
            return value
        tensor = tf.convert_to_tensor(value)
        return tensor if tensor.dtype == each.dtype else tf.cast(tensor, each.dtype)

    if isinstance(spec, dict):
        return {name: convert(spec[name], inputs[name]) for name in spec}
    if isinstance(spec, (list, tuple)):
        return [convert(each, value) for each, value in zip(spec, inputs, strict=True)]
    return convert(spec, inputs)
