"""What a local path stands for: a directory with a SavedModel, or an archive that is unpacked into the cache."""

import os
import re
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress

from keras_hub_layers._src.files import atomic
from keras_hub_layers._src.files.layout import SAVED_MODEL_FILES, is_saved_model
from keras_hub_layers._src.files.manifests import sha256_of
from keras_hub_layers._src.resolve import other_formats, page_urls
from keras_hub_layers._src.resolve.cache import Cache
from keras_hub_layers._src.resolve.checksums import check_pin, refuse_pin
from keras_hub_layers._src.resolve.handles import FORMS, FRAMEWORKS, Handle
from keras_hub_layers._src.text import words
from keras_hub_layers._src.text.progress import progress
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers.errors import HandleNotFoundError, ResolveError, add_place


def resolve_path(handle: Handle, sha256: str | None) -> str:
    """A directory stays where it is; an archive is unpacked into the cache."""
    path = os.path.abspath(handle.location)
    with suppress(OSError):
        atomic.recover(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.listdir(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HandleNotFoundError(
            "There is nothing at this path.",
            expected=_describe_expected(handle),
            received="no such file or directory",
            where=path if handle.text == path else f"{handle.text!r}, which is {path}",
            fix=_meant(handle, path) or _neighbours(path),
        ) from error
    except OSError as error:
        raise ResolveError(
            "The path cannot be read.",
            expected="a directory or archive that this user may read",
            received=f"{type(error).__name__}: {error.strerror}",
            where=path,
            fix=f"look at its permissions: ls -ld {path!r}",
        ) from error
    if stat.S_ISDIR(status.st_mode):
        refuse_pin(handle, sha256, "a directory")
        check_directory(path)
        return path
    if not handle.is_archive:
        raise _not_an_archive(path)
    # the same path may hold another archive tomorrow: its identity is part of the key
    key = f"{path}#{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"

    def fill(work: str) -> tuple[str, str | None]:
        received = sha256_of(path)
        with add_place(path):
            check_pin(sha256, received)
        return unpack_into(path, work, path), received

    cache = Cache()
    return cache.find(key, sha256) or cache.put(key, fill, sha256, label=path)


def unpack_into(archive: str, work: str, source: str) -> str:
    """Unpack an archive into a work directory of the cache; the directory in it that holds the SavedModel."""
    from keras_hub_layers._src.resolve.archives.unpack import find_saved_model, unpack  # most handles need none of it

    tree = os.path.join(work, "tree")
    shutil.rmtree(tree, ignore_errors=True)  # of an archive that was damaged on its way
    with progress(f"unpacking {words.ending(source)}"):
        unpack(archive, tree, source=source)
    model = find_saved_model(tree, source)
    _check_contents(model, source)
    return model


def check_directory(path: str) -> None:
    """A local directory must hold a SavedModel itself, and not pointers to its files; say what it holds instead."""
    if is_saved_model(path):
        _check_contents(path, path)
        return
    names = sorted(os.listdir(path))
    children = [name for name in names if is_saved_model(os.path.join(path, name))]
    raise no_saved_model(path, names, children, other_formats.of_folder(path, names))


def no_saved_model(
    path: str, names: Sequence[str], children: Sequence[str], other: other_formats.Format | None = None
) -> ResolveError:
    """The error for a directory, local or remote, that is no SavedModel.

    Args:
        path: The directory.
        names: Of what it holds.
        children: Those of them that are SavedModels.
        other: What else it is, if that is known. Defaults to `None`.
    """
    versions = sorted((name for name in children if name.isdecimal()), key=int)
    problem, received = "The directory holds no SavedModel.", ", ".join(names[:20]) or "an empty directory"
    fix = "give the directory that holds saved_model.pb"
    if versions:
        problem = "The directory holds numbered versions of a SavedModel, not one SavedModel."
        children, received = versions[::-1], f"versions {', '.join(versions)}"
    elif children:
        received = f"SavedModels in {', '.join(children[:20])}"
    elif other is not None:
        received, fix = f"{other.what}: {received}", other.fix
    if children:
        separator = "/" if "://" in path else os.sep
        others = "   # the newest" if versions else f"   # or {words.join_names(children[1:], 2)}" * (len(children) > 1)
        fix = f"HubLayer({path.rstrip(separator) + separator + children[0]!r}){others}"
    return ResolveError(
        problem, expected=f"one of {', '.join(SAVED_MODEL_FILES)}", received=received, where=path, fix=fix
    )


def _check_contents(directory: str, source: str) -> None:
    """Refuse a SavedModel with Git-LFS pointers in place of files."""
    pointers = other_formats.lfs_pointers(directory)
    if pointers:
        raise ResolveError(
            "Files of the SavedModel are Git-LFS pointers: their contents were not fetched.",
            expected="the files themselves",
            received=f"pointers in place of {words.join_names(pointers)}",
            where=source,
            fix=other_formats.LFS_FIX,
        )


def _describe_expected(handle: Handle) -> str:
    """What could stand at a missing path; all forms of handles, where the text may be meant for another one."""
    if os.path.isabs(handle.location) or handle.text.startswith((".", "file:")):
        return "a directory with a SavedModel, or an archive of one"
    return f"one of these forms\n{FORMS}"


def _meant(handle: Handle, path: str) -> str | None:
    """The handle that a missing path was meant for: an address without https://, or a path with a misspelt name."""
    if address := page_urls.address_of(handle.text):
        return f"HubLayer({address!r})"
    if near := _nearest(path):
        return f"HubLayer({near!r})"
    parts = handle.text.split("/")
    if re.fullmatch(r"[a-z][a-z0-9-]*/[A-Za-z0-9][\w.-]*(/[\w.-]+)*/[1-9]\d*", handle.text) and handle.kaggle is None:
        framework = nearest(parts[2].lower(), [name.lower() for name in FRAMEWORKS], 0.6)
        if not framework and not os.path.isdir(parts[0]):  # the end of an address, as code for tensorflow_hub has it
            return f"HubLayer('https://tfhub.dev/{handle.text}')"
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", handle.text) and not os.path.isdir(parts[0]):
        return (
            f"HubLayer('hf://{handle.text}')   # a Hugging Face repository\n"
            f"HubLayer('{handle.text}/tensorFlow2/VARIATION/1')   # a Kaggle model"
        )
    if os.path.isabs(handle.text) or handle.text.startswith((".", "~")) or not 3 <= len(parts) <= 5:
        return None
    framework = nearest(parts[2].lower(), [name.lower() for name in FRAMEWORKS], 0.6)
    if not framework:
        return None
    parts[2] = next(name for name in FRAMEWORKS if name.lower() == framework)
    variation = parts[3] if len(parts) > 3 else "VARIATION"
    shorthand = "/".join([*parts[:3], variation, *parts[4:]])
    return f"# Kaggle's shorthand: owner/model/framework/variation[/version]\nHubLayer({shorthand!r})"


def _nearest(path: str) -> str | None:
    """The existing path that differs in the spelling of names alone."""
    found, missing = path, []
    while not os.path.isdir(found):
        found, name = os.path.split(found)
        missing.append(name)
    for name in reversed(missing):
        try:
            near = nearest(name, os.listdir(found), 0.6)
        except OSError:
            near = None
        if not near:
            return None
        found = os.path.join(found, near)
    return found


def _neighbours(path: str) -> str:
    """What to do about a missing path: the names that are there instead."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        return f"check the spelling; the directory {parent} does not exist either: ls {os.path.dirname(parent)!r}"
    try:
        names = sorted(os.listdir(parent))[:20]
    except OSError:
        names = []
    return f"check the spelling; in {parent} there are: {', '.join(names) or 'no files'}"


def _not_an_archive(path: str) -> ResolveError:
    suffix = os.path.splitext(path)[1].lower()
    folder = os.path.dirname(path)
    received = f"a file whose name ends in {suffix or 'nothing'}"
    fix = f"give the directory of the SavedModel, or pack it: keras-hub-layers pack {folder!r} m.tar.gz"
    found = other_formats.of_file(path)
    if found is not None:
        received, fix = f"{received}: {found.what}", found.fix
    return ResolveError(
        "The file is not an archive of a SavedModel.",
        expected="a directory, or a file whose name ends in .tar.gz, .tgz, .tar or .zip",
        received=received,
        where=path,
        fix=fix,
    )
