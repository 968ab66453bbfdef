"""Free the models of trials that have ended."""

import contextlib
import ctypes
import gc

__all__ = ["tidy"]


def tidy() -> None:
    """Free the models of trials that have ended, and give the memory back to the operating system.

    Models are cycles of references. glibc keeps what was freed in pieces, and the more the larger the models are; other
    C libraries have no such function and do not need it.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
