"""Whether this process is the kernel of a notebook, and what the notebook shows. Only there IPython is imported."""

import sys
from typing import Any

__all__ = ["display", "in_notebook"]


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose frontend shows what IPython displays."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def display(data: dict[str, str], handle: Any = None) -> Any:
    """Show something below the running cell.

    Args:
        data: Its forms: MIME type -> text.
        handle: What an earlier call has returned: that output is changed. Defaults to `None`: a new one.

    Returns:
        A handle of the output.
    """
    from IPython.display import display  # type: ignore[import-not-found]

    if handle is None:
        return display(data, raw=True, display_id=True)
    handle.update(data, raw=True)
    return handle
