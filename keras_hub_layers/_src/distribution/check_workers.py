"""Whether all workers run the same versions and hold the same SavedModels."""

import hashlib
import importlib.metadata
import json
import weakref
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hub_layers._src.compat.workers import workers_of
from keras_hub_layers._src.layers import access
from keras_hub_layers.errors import DistributionError

__all__ = ["check_workers"]

_checked: "weakref.WeakSet[Any]" = weakref.WeakSet()


def check_workers(model: keras.Model) -> None:
    """Raise an error on each worker if the workers have different versions, or different SavedModels in a model.

    The first call for a model compares the workers. All workers have to make this call. Later calls return at once,
    because statistics may differ between the workers after training.

    Raises:
        errors.DistributionError: The workers differ. The error says in what, and on which workers.
    """
    workers = workers_of(model.distribute_strategy)
    if workers is None or model in _checked:
        return
    told = [json.loads(data) for data in workers.gather(json.dumps(_facts(model)).encode())]
    _checked.add(model)
    names = [name for name in dict.fromkeys(key for facts in told for key in facts) if _differs(told, name)]
    if names:
        raise DistributionError(
            "The workers do not train the same thing.",
            expected="the same packages and the same SavedModels on each worker",
            received="\n".join(_list_values(told, name) for name in names),
            where=f"model {model.name!r}, worker {workers.index} of {workers.count}",
            fix='HubLayer(handle, sha256="...")   # refuses another SavedModel; and the same packages everywhere',
        )


def _facts(model: keras.Model) -> dict[str, str]:
    """What has to be the same on each worker: name -> a version or a hash."""
    facts = {
        "keras_hub_layers": importlib.metadata.version("keras-hub-layers"),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    for number, layer in enumerate(access.hub_layers(model)):
        source = access.source(layer)
        name = f"HubLayer {layer.name!r}" if number < 100 else "other HubLayers"
        facts[f"{name}, graph"] = facts.get(f"{name}, graph", "") + ("" if source is None else source.digest[:12])
        facts[f"{name}, weights"] = _hash(layer, facts.get(f"{name}, weights", ""))
    return facts


def _hash(layer: keras.layers.Layer, before: str) -> str:
    digest = hashlib.blake2b(before.encode(), digest_size=6)
    for weight in layer.weights:
        local = _strategy_of(weight).experimental_local_results(weight.value)[0]  # the values of this worker alone
        digest.update(np.ascontiguousarray(np.asarray(local)).tobytes())
    return digest.hexdigest()


def _strategy_of(weight: Any) -> Any:
    """The strategy that a weight was made under."""
    return getattr(weight.value, "distribute_strategy", None) or tf.distribute.get_strategy()


def _differs(told: list[dict[str, str]], name: str) -> bool:
    return len({facts.get(name) for facts in told}) > 1


def _list_values(told: list[dict[str, str]], name: str) -> str:
    workers: dict[str, list[str]] = {}
    for index, facts in enumerate(told):
        workers.setdefault(facts.get(name, "none"), []).append(str(index))
    values = "; ".join(f"{value} on worker {', '.join(indices)}" for value, indices in workers.items())
    return f"{name}: {values}"
