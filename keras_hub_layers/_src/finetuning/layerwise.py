"""layerwise(model, optimizer): learning rates that fall from the output to the input, around any optimizer."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_hub_layers._src.compat import optimizers
from keras_hub_layers._src.finetuning import groups
from keras_hub_layers._src.finetuning.arguments.targets import check_layer
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import TrainingError, add_place

__all__ = ["LayerwiseOptimizer", "layerwise"]


@public("finetuning")
@keras.saving.register_keras_serializable(package="keras_hub_layers")
class LayerwiseOptimizer(keras.optimizers.Optimizer):
    """An optimizer whose learning rate is multiplied by a factor for each variable.

    Everything else is done by the optimizer inside: its algorithm, its slots, its `learning_rate` (which you and
    callbacks can set; a schedule works too), gradient clipping over all variables, averaging, and loss scaling. Weight
    decay is scaled with the learning rate. The optimizer is saved and restored with the model.

    Args:
        inner_optimizer: An optimizer, its name or config.
        factors: Dict of a variable's `path` to its factor.
        default: Factor of all other variables. Defaults to 1.0.
        name: Name of the optimizer. Defaults to `None`: automatic.
        **kwargs: For Keras, when it restores the optimizer.

    Raises:
        errors.TrainingError: The optimizer inside is a `LossScaleOptimizer`: wrap it the other way round; or a
            `MultiOptimizer`, which has rates of its own.

    Example:

    ```python
    optimizer = LayerwiseOptimizer(keras.optimizers.Adam(1e-3), {"hub_layer/conv.kernel": 0.1})
    ```
    """

    def __init__(
        self,
        inner_optimizer: Any,
        factors: Mapping[str, float],
        default: float = 1.0,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer: Any = keras.optimizers.get(inner_optimizer)
        is_around_others = any(hasattr(self.inner_optimizer, name) for name in ("inner_optimizer", "optimizers"))
        if is_around_others or not hasattr(self.inner_optimizer, "update_step"):
            raise _wrapper_inside(self.inner_optimizer)
        self.factors = {path: float(factor) for path, factor in factors.items()}
        self.default = float(default)

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        factors = [self.factors.get(variable.path, self.default) for variable in variables]
        self.inner_optimizer.build(variables)
        super().build(variables)
        optimizers.scale_updates(self.inner_optimizer, factors.__getitem__)

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        if not self.built and trainable_variables is not None:
            self.build(list(trainable_variables))
        self.inner_optimizer.apply(grads, trainable_variables)

    @property
    def variables(self) -> list[Any]:
        return [*super().variables, *self.inner_optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The learning rate that the factors multiply; settable."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    @property
    def loss_scale_factor(self) -> Any:
        """That of the optimizer inside; settable."""
        inner = self.__dict__.get("inner_optimizer")
        return None if inner is None else inner.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: Any) -> None:
        if "inner_optimizer" in self.__dict__:
            self.inner_optimizer.loss_scale_factor = value

    def scale_loss(self, loss: Any) -> Any:
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
            "factors": self.factors,
            "default": self.default,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "LayerwiseOptimizer":
        config = dict(config)
        config["inner_optimizer"] = keras.saving.deserialize_keras_object(config["inner_optimizer"], custom_objects)
        return cls(**config)


def _wrapper_inside(optimizer: Any) -> TrainingError:
    return TrainingError(
        "A wrapper cannot be inside a LayerwiseOptimizer.",
        expected="an optimizer such as Adam",
        received=type(optimizer).__name__,
        where="LayerwiseOptimizer(inner_optimizer)",
        fix="LossScaleOptimizer(LayerwiseOptimizer(keras.optimizers.Adam(1e-3), factors))",
    )


@public("finetuning")
def layerwise(model: keras.Model, optimizer: Any, decay: float = 0.8) -> LayerwiseOptimizer:
    """An optimizer with lower learning rates for the groups of a HubLayer that are further from the output.

    The layers of the model itself have the full learning rate; the last group of a `HubLayer` (`finetuning.groups`) has
    `decay` times it, the one before `decay`² times it, and so on. The factors do not depend on which
    variables are trained now, so it works together with `callbacks.Unfreeze`.

    Args:
        model: A model with a `HubLayer`.
        optimizer: An optimizer, its name or config, such as `keras.optimizers.Adam(1e-4)`.
        decay: The factor from one group to the next, above 0 and at most 1. Defaults to 0.8, that of ELECTRA's base
            model. ULMFiT divides by 2.6, which is 0.38.

    Returns:
        A `LayerwiseOptimizer` to compile the model with.

    Raises:
        errors.TrainingError: `decay` is not above 0 and at most 1, or the model has no HubLayer, or two of one name,
            whose variables have the same paths.

    Example:

    ```python
    from keras_hub_layers import finetuning

    model.compile(finetuning.layerwise(model, keras.optimizers.Adam(1e-4)), "mse")
    ```

    Reference:

    - [ELECTRA, Clark et al. 2020](https://arxiv.org/abs/2003.10555): layer-wise learning rate decay.
    - [Universal language model fine-tuning, Howard and Ruder 2018](https://arxiv.org/abs/1801.06146): the idea.
    """
    check_layer(model, "finetuning.layerwise(layer, keras.optimizers.Adam(1e-4), decay=0.8)")
    layers = access.hub_layers(model)
    with add_place(f"layerwise, model {model.name!r}"):
        if not layers or not 0 < decay <= 1:
            raise _no_decay(layers, decay)
        factors: dict[str, float] = {}
        for layer in layers:
            rates = {path: decay ** (steps + 1) for path, steps in groups.steps_from_output(layer).items()}
            if any(factors.get(path, rate) != rate for path, rate in rates.items()):
                raise _same_name(layer, layers)
            factors.update(rates)
    return LayerwiseOptimizer(optimizer, factors)


def _no_decay(layers: Sequence[Any], decay: float) -> TrainingError:
    return TrainingError(
        "The learning rates cannot be decayed by depth.",
        expected="a model with a HubLayer, and a decay above 0 and at most 1",
        received=f"HubLayers: {[layer.name for layer in layers]}, decay={decay!r}",
        fix="finetuning.layerwise(model, keras.optimizers.Adam(1e-4), decay=0.8)",
    )


def _same_name(layer: Any, layers: Sequence[Any]) -> TrainingError:
    return TrainingError(
        "Two HubLayers have the same name, so their variables cannot be told apart by path.",
        expected="HubLayers of different names",
        received=f"{[other.name for other in layers]}",
        fix=f"layers.HubLayer(handle, name={layer.name + '_2'!r})",
    )
