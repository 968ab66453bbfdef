"""The SHA-256 that a handle is pinned to: read, refused where there is no archive, compared."""

import re

from keras_hub_layers._src.resolve.handles import Handle, display
from keras_hub_layers.errors import ChecksumError


def parse_pin(sha256: str | None, text: str) -> str | None:
    """A pin in lower case; a malformed one is refused before anything is asked for."""
    if sha256 is None or (isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256)):
        return sha256.lower() if sha256 else None
    raise ChecksumError(
        "This is not a SHA-256 checksum.",
        expected="64 hexadecimal digits",
        received=repr(sha256),
        where=display(text),
        fix="compute it from the archive: sha256sum model.tar.gz",
    )


def refuse_pin(handle: Handle, sha256: str | None, what: str) -> None:
    """A checksum belongs to an archive's bytes; for anything else it is an error, not ignored."""
    if sha256:
        raise ChecksumError(
            "A checksum can only be compared with an archive.",
            expected="the handle of an archive, or no sha256",
            received=what,
            where=display(handle.text),
            fix=f"HubLayer({display(handle.text)!r})   # without sha256; to pin it, pack it and pin the archive:\n"
            f"# keras-hub-layers pack {display(handle.text)} model.tar.gz && sha256sum model.tar.gz",
        )


def check_pin(pin: str | None, sha256: str) -> None:
    """Refuse an archive whose SHA-256 is not the one that was pinned."""
    if pin and sha256 != pin.lower():
        raise ChecksumError(
            "The archive is not the one that was pinned.",
            expected=f"SHA-256 {pin.lower()}",
            received=f"SHA-256 {sha256}",
            fix=f"if the publisher replaced it on purpose, pin the new one: sha256={sha256!r}",
        )
