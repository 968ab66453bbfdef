"""The line of code that makes a `HubLayer`, for error texts and for `Interface.code`."""

import os
from typing import Any

from keras_hub_layers._src.resolve import handles


def format_handle(handle: Any) -> str:
    """A handle as an error text shows it: quoted, without passwords."""
    if isinstance(handle, (str, os.PathLike)):
        return repr(handles.display(str(os.fspath(handle))))
    return f"an object of type {type(handle).__name__}"


def line(handle: Any = None, **arguments: Any) -> str:
    """The line of code that makes a layer.

    Args:
        handle: The handle or object; `None` if it is not known.
        **arguments: Those of the layer; what is `None` is left out.
    """
    first = format_handle(handle) if isinstance(handle, (str, os.PathLike)) else "handle" if handle is None else "obj"
    given = [f"{name}={value!r}" for name, value in arguments.items() if value is not None]
    return f"HubLayer({', '.join([first, *given])})"
