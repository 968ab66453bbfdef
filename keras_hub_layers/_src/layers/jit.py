"""`HubLayer(jit=True)`: whether XLA compiles what a layer computes, tried in a process of its own and remembered."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from typing import Any

import keras

from keras_hub_layers import errors
from keras_hub_layers._src import tensorflow_process
from keras_hub_layers._src.compat import fit
from keras_hub_layers._src.files import atomic
from keras_hub_layers._src.inspect.verdicts.call_target import BodyReader
from keras_hub_layers._src.layers import serialization
from keras_hub_layers._src.resolve.cache import Cache
from keras_hub_layers._src.savedmodel import source as source_lib
from keras_hub_layers._src.savedmodel.graphs.xla import hindrances
from keras_hub_layers._src.text.progress import progress

_SECONDS = 900  # that a trial may take: XLA compiles large networks for minutes
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY", "OOM when")
_CODE = "from keras_hub_layers._src.layers import jit; jit.answer()"

_known: dict[str, str] = {}  # verdicts of this process, by their keys


def settle(layer: Any) -> None:
    """Have a layer with `jit=True` support XLA if a trial shows that XLA compiles what it computes now.

    Raises:
        errors.InterfaceError: XLA does not, and the user is making the layer. A layer that comes from a config, or
            that is frozen or trained later, warns and runs without XLA.
    """
    executor, settings = layer._executor, layer._settings
    if not settings.jit or executor.supports_jit:
        return
    reason = _find_hindrance(layer)
    layer.supports_jit = not reason
    if reason and not layer.built and not isinstance(settings.handle, serialization.LiveHandle):
        raise errors.InterfaceError(
            "XLA cannot be used for the layer.",
            expected="a SavedModel that XLA compiles, forward and backward",
            received=reason,
            fix=lambda line: f"{line(jit=None)}   # runs without XLA",
        )
    if reason:
        layer._warn(f"XLA is not used for the layer: {reason}.")


def check_step(layer: Any) -> None:
    """Refuse to be compiled by XLA without a trial that shows that it can; called while a step is being traced.

    Raises:
        errors.InterfaceError: A step of Keras' is compiled by XLA, and the layer does not support that.
    """
    if layer.supports_jit or not fit.is_in_step_with_xla():
        return
    reason = _find_hindrance(layer) if layer._settings.jit else "a layer that was made without jit=True"
    raise errors.InterfaceError(
        "XLA compiles the model, and cannot be used for the layer.",
        expected="a model with jit_compile=False, or a layer that XLA can compile",
        received=reason,
        fix="model.compile(model.optimizer, model.loss, jit_compile=False)",
    )


def _find_hindrance(layer: Any) -> str:
    """Why XLA cannot be used for a layer as it is; `""` if it can."""
    from keras_hub_layers._src.executors.xla import trial  # not at the top: it imports TensorFlow

    source = source_lib.source_of(layer._loaded)
    if source is None:
        return "it was made from an object of this process, which no other process can try out"
    if trial.has_replicas(layer._executor):
        return "it belongs to a distribution strategy, which no other process can try out"
    key = _key(layer, source, trial.environment())
    if key not in _known:
        names = hindrances(layer._choice.function, BodyReader(source))
        _known[key] = f"XLA has no kernels for {', '.join(names)}" if names else _tried(layer, source, key)
    return _known[key]


def _tried(layer: Any, source: Any, key: str) -> str:
    """What a trial shows, or has shown in an earlier process."""
    reason = _recall(key)
    if reason is not None:
        return reason
    with progress("trying XLA in another process"):
        reason, lasts = _try_in_a_process(layer, source)
    if lasts:
        _remember(key, reason)
    return reason


# -- what is remembered ------------------------------------------------------------------------------------------------


def _key(layer: Any, source: Any, environment: list[str]) -> str:
    """A name for the graph, how it is used, and what would compile it."""
    config = {**layer._settings.config(), "handle": "", "sha256": "", "output_shape": ""}
    versions = [importlib.metadata.version("keras-hub-layers"), keras.__version__, *environment]
    parts = [source.digest, source.format, config, layer.trainable, versions]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _path(key: str) -> str:
    return os.path.join(Cache().root, "xla", f"{key}.json")


def _recall(key: str) -> str | None:
    try:
        with open(_path(key), encoding="utf-8") as file:
            return str(json.load(file)["reason"])
    except (OSError, ValueError, TypeError, KeyError, errors.HubError):
        return None


def _remember(key: str, reason: str) -> None:
    """Keep a verdict in the cache. Without it, the next process tries again."""
    with contextlib.suppress(OSError, errors.HubError):
        path = _path(key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with atomic.replace_file(path) as new, open(new, "w", encoding="utf-8") as file:
            json.dump({"reason": reason}, file)


# -- the trial ---------------------------------------------------------------------------------------------------------


def _try_in_a_process(layer: Any, source: Any) -> tuple[str, bool]:
    """Why XLA cannot be used, `""` if it can; and whether that will be so next time."""
    config = {**layer._settings.config(), "handle": source.directory, "tags": source.tags_to_give}
    config |= {"jit": False, "sha256": None, "trainable": layer.trainable}
    config["unfreeze"] = "all" if layer.trainable else None
    try:
        return _verdict(tensorflow_process.run(_CODE, config, _SECONDS))
    except subprocess.TimeoutExpired:
        return f"the trial took more than {_SECONDS} s", False
    except OSError as err:
        return f"the process for the trial could not be started: {err}", False


def _verdict(reply: tensorflow_process.Reply) -> tuple[str, bool]:
    """What the process for a trial found out."""
    last = (reply.answers or [{}])[-1]
    if "reason" in last:
        return last["reason"], not any(sign in last["reason"] for sign in _OUT_OF_MEMORY)
    place = f"while XLA compiled {last['stage']}" if "stage" in last else "before XLA compiled anything"
    if reply.status < 0:
        number = -reply.status
        name = signal.Signals(number).name if number in set(signal.Signals) else number
        is_killed = number in (signal.SIGKILL, signal.SIGTERM)
        return f"the process ended with {name} {place}", "stage" in last and not is_killed
    return f"the process ended with status {reply.status} {place}: {reply.last_error}", False


def answer() -> None:
    """The process for a trial: reads a config from the standard input, and writes stages and a verdict as JSON."""
    from keras_hub_layers._src.executors.xla import trial
    from keras_hub_layers._src.layers.hub_layer import HubLayer

    def write(**entry: str) -> None:
        sys.stdout.write(f"\n{json.dumps(entry)}\n")
        sys.stdout.flush()

    layer = HubLayer(**json.load(sys.stdin))
    stage = ""

    def say(text: str) -> None:
        nonlocal stage
        stage = text
        write(stage=text)

    try:
        trial.try_out(layer, layer._executor, say)
    except Exception as err:
        text = " ".join(str(err).partition("Stack trace for op definition")[0].split())
        write(reason=f"{stage}: {text[:300]}{'…' if len(text) > 300 else ''}")
    else:
        write(reason="")
