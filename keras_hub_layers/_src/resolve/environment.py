"""What the environment says: each variable is read in one place, when it is needed."""

import json
import os
from typing import Literal

from keras_hub_layers.errors import HandleError, ResolveError

_OFF = ("", "0", "false", "no", "off")


def offline() -> bool:
    """Whether `KERAS_HUB_LAYERS_OFFLINE` switches the network off."""
    return os.environ.get("KERAS_HUB_LAYERS_OFFLINE", "").strip().lower() not in _OFF


def wants_uncompressed() -> bool:
    """Whether `TFHUB_MODEL_LOAD_FORMAT` asks for the uncompressed form of the hosting protocol."""
    return os.environ.get("TFHUB_MODEL_LOAD_FORMAT") == "UNCOMPRESSED"


def unchecked_certificates() -> bool:
    """Whether `TFHUB_DISABLE_CERT_VALIDATION` is "true", the only word that tensorflow_hub knows."""
    return os.environ.get("TFHUB_DISABLE_CERT_VALIDATION") == "true"


def timeout() -> float | None:
    """`KERAS_HUB_LAYERS_TIMEOUT`: seconds of silence; a call ends after twice that without progress."""
    return _number("KERAS_HUB_LAYERS_TIMEOUT", "seconds", "60")


def min_speed() -> float | None:
    """`KERAS_HUB_LAYERS_MIN_SPEED`: bytes per second below which a transfer makes no progress."""
    return _number("KERAS_HUB_LAYERS_MIN_SPEED", "bytes per second", "1024")


def max_bytes() -> int | None:
    """`KERAS_HUB_LAYERS_MAX_BYTES`: size of an archive, and of what it unpacks to."""
    number = _number("KERAS_HUB_LAYERS_MAX_BYTES", "bytes", "100000000000")
    return None if number is None else int(number)


def max_members() -> int | None:
    """`KERAS_HUB_LAYERS_MAX_MEMBERS`: files and directories in an archive."""
    number = _number("KERAS_HUB_LAYERS_MAX_MEMBERS", "members", "1000000")
    return None if number is None else int(number)


def pruning() -> Literal["auto", "never", "always"]:
    """Whether `KERAS_HUB_LAYERS_PRUNE` lets a layer load what it uses, and no more: where that pays (the default),
    never (`0`), or `always`."""
    text = os.environ.get("KERAS_HUB_LAYERS_PRUNE", "auto").strip().lower()
    return "never" if text in ("never", *_OFF[1:]) else "always" if text == "always" else "auto"


def sharing() -> bool:
    """Whether layers of one SavedModel share its functions; not with `KERAS_HUB_LAYERS_SHARE=0`."""
    return os.environ.get("KERAS_HUB_LAYERS_SHARE", "1").strip().lower() not in ("never", *_OFF[1:])


def mirrors() -> dict[str, str]:
    """The table of `KERAS_HUB_LAYERS_MIRRORS`: JSON, or the path of a JSON file."""
    setting = os.environ.get("KERAS_HUB_LAYERS_MIRRORS", "").strip()
    if not setting:
        return {}
    text = setting
    try:
        if not setting.startswith("{"):
            with open(os.path.expanduser(setting), encoding="utf-8") as file:
                text = file.read()
        table = json.loads(text)
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise ValueError("not an object of strings")
    except (OSError, ValueError) as error:
        raise HandleError(
            "The table of mirrors cannot be read.",
            expected="a JSON object, or the path of a file with one: handle prefix to URL or directory",
            received=f"{len(setting)} characters ({error})" if text == setting else f"{setting[:200]!r} ({error})",
            where="KERAS_HUB_LAYERS_MIRRORS",
            fix="""export KERAS_HUB_LAYERS_MIRRORS='{"https://tfhub.dev/": "https://hub.example.com/"}'""",
        ) from error
    return table


def _number(name: str, unit: str, example: str) -> float | None:
    """A positive number, or None when the variable is not set."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
        if not 0 < number < float("inf"):
            raise ValueError("not a positive number")
    except ValueError as error:
        raise ResolveError(
            f"The setting {name} cannot be read.",
            expected=f"a positive number of {unit}",
            received=repr(text),
            where="the environment",
            fix=f"export {name}={example}",
        ) from error
    return number
