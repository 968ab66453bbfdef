"""What may be written where: an export replaces a free place or another export, versions go to a directory of them."""

import os

from keras_hub_layers._src.files.layout import is_saved_model
from keras_hub_layers._src.text import words
from keras_hub_layers.errors import ExportError


def check_replaceable(destination: str) -> None:
    """Raise an `errors.ExportError` unless the destination is free, empty, or a SavedModel."""
    final = os.path.realpath(destination)
    if not os.path.lexists(final) or is_saved_model(final) or (os.path.isdir(final) and not os.listdir(final)):
        return
    is_directory = os.path.isdir(final)
    raise ExportError(
        "The destination holds something that is not an export, and is left as it is.",
        expected="a path that is free, an empty directory, or an earlier export (it has a saved_model.pb)",
        received=f"a directory with {words.join_names(sorted(os.listdir(final)), 3)}" if is_directory else "a file",
        where=destination,
        fix=f"khl.export(target, {os.path.join(destination, 'export')!r})   # a directory of its own"
        if is_directory
        else f"khl.export(target, {destination + '_export'!r})   # another path",
    )


def check_versionable(directory: str) -> None:
    """Raise an `errors.ExportError` unless numbered versions can be put into the directory."""
    if not os.path.lexists(directory) or (os.path.isdir(directory) and not is_saved_model(directory)):
        return
    raise ExportError(
        "Numbered versions cannot be written there.",
        expected="a directory of numbered versions, or a path that is free",
        received="a SavedModel itself" if os.path.isdir(directory) else "a file",
        where=directory,
        fix=f"callbacks.ExportFinetuned({directory + '_versions'!r}, versioned=True)   # another directory",
    )


def check_file(destination: str) -> None:
    """Raise an `errors.ExportError` unless one file can be written there."""
    if os.path.isdir(destination):
        name = "model" + os.path.splitext(os.path.realpath(destination))[1]
        raise ExportError(
            "The destination is a directory.",
            expected="a path for one file",
            received="a directory",
            where=destination,
            fix=f"khl.save(model, {os.path.join(destination, name)!r})   # a name inside",
        )


def next_version(names: list[str]) -> int:
    """The largest number among the names of a directory's entries plus one; 1 where there is none."""
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=0) + 1
