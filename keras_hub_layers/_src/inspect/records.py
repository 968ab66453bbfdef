"""The records that an Interface is made of: traces, signatures, variables, groups and packages, as pure data."""

import math
from dataclasses import dataclass
from typing import Any

from keras_hub_layers._src.inspect.specs import describe
from keras_hub_layers._src.public import public
from keras_hub_layers._src.savedmodel.protos.specs import DType


@public("interface")
@dataclass(frozen=True)
class TraceInfo:
    """One way to call the object.

    Attributes:
        inputs: A `Spec`, or a list or dict of them.
        outputs: Likewise; `None` if unknown.
        training: `True` or `False` as traced, `"tensor"` where a tensor is expected, `None` without the argument.
        arguments: The other arguments, name to Python value or `Spec`.
    """

    inputs: Any
    outputs: Any
    training: Any
    arguments: dict[str, Any]

    def __str__(self) -> str:
        fixed = {"training": self.training, **self.arguments}
        shown = "".join(f", {name}={describe(value)}" for name, value in fixed.items() if value is not None)
        return f"({describe(self.inputs)}{shown}) -> {describe(self.outputs)}"


@public("interface")
@dataclass(frozen=True)
class SignatureInfo:
    """A signature: named inputs to named outputs, inference only.

    Attributes:
        inputs: Name to `Spec`.
        outputs: Name to `Spec`.
    """

    inputs: dict[str, Any]
    outputs: dict[str, Any]

    def __str__(self) -> str:
        return f"{describe(self.inputs)} -> {describe(self.outputs)}"


@public("interface")
@dataclass(frozen=True)
class VariableInfo:
    """A variable that the SavedModel publishes, or that its functions use.

    Attributes:
        name: Name in the SavedModel, with slashes, without `:0`.
        shape: Tuple of `int`; `None` if even the rank is unknown.
        dtype: Name of the dtype.
        trainable: Whether it is among the published `trainable_variables`.
        published: Whether it is among the published `variables`.
        gradient: Whether a gradient of the outputs or of a published loss reaches it, so that training moves it.
            Defaults to `True`: unknown.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    trainable: bool
    published: bool
    gradient: bool = True

    @property
    def parameters(self) -> int:
        """Number of values; 0 where the shape is not known."""
        return 0 if self.shape is None else math.prod(length or 0 for length in self.shape)

    @property
    def size(self) -> int:
        """Bytes of its values; 0 for strings, which have no size of their own."""
        return self.parameters * DType(self.dtype).size


@public("interface")
@dataclass(frozen=True)
class GroupInfo:
    """A part of a SavedModel, as `finetuning.groups` names it: `"stem"`, `"block_1"`, …, `"head"`.

    Attributes:
        name: Its name.
        variables: Names of its variables, in the order in which they are first used.
        tunable: Those of them that are published as trainable.
        parameters: Number of values in all its variables.
        size: The same in bytes.
        trainable: Number of values in those of `tunable` that a gradient reaches.
    """

    name: str
    variables: tuple[str, ...]
    tunable: tuple[str, ...]
    parameters: int
    size: int
    trainable: int


@public("interface")
@dataclass(frozen=True)
class Extent:
    """How much there is of something.

    Attributes:
        variables: Number of variables.
        parameters: Number of values in them.
        size: The same in bytes.
    """

    variables: int
    parameters: int
    size: int


@public("interface")
@dataclass(frozen=True)
class Requirement:
    """A package whose ops or types the graph uses.

    Attributes:
        package: Its name for pip.
        module: What to import before loading.
        ops: The ops, a tuple of names.
        advice: How to install the release that fits the running TensorFlow; a sentence where none does.
        types: Names of types of inputs and outputs that it registers.
    """

    package: str
    module: str
    ops: tuple[str, ...]
    advice: str
    types: tuple[str, ...] = ()
