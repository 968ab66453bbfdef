"""pack(directory, archive_path): one `.tar.gz` that any web server can offer as a handle."""

import errno
import gzip
import os
import shlex
import tarfile
from collections.abc import Iterator

from keras_hub_layers._src.files.atomic import replace_file
from keras_hub_layers._src.files.layout import is_saved_model
from keras_hub_layers._src.files.write_errors import write_error
from keras_hub_layers._src.public import public
from keras_hub_layers.errors import ExportError

_LEVEL = 6  # of gzip; weights hardly shrink at any level


@public()
def pack(directory: str | os.PathLike[str], archive_path: str | os.PathLike[str]) -> str:
    """Pack a SavedModel into a `.tar.gz` that any web server can offer as a handle.

    The same files give the same bytes: names are sorted; dates, owners and modes are left out. The archive
    is written beside its destination and moved there when it is whole.

    Args:
        directory: A directory that holds a SavedModel.
        archive_path: The file to write; ends in `.tar.gz` or `.tgz`.

    Returns:
        The absolute path of the archive.

    Raises:
        ExportError: The directory holds no SavedModel, or something that cannot be packed, or the archive would lie
            in it.
        ExportWriteError: The archive cannot be written.

    Example:

    ```python
    keras_hub_layers.pack("export", "encoder.tar.gz")
    layer = keras_hub_layers.layers.HubLayer("encoder.tar.gz")
    ```
    """
    source, target = os.path.abspath(os.fspath(directory)), os.path.abspath(os.fspath(archive_path))
    check_saved_model(source)
    if not target.lower().endswith((".tar.gz", ".tgz")):
        raise ExportError(
            "An archive of a SavedModel is a .tar.gz.",
            expected="a path that ends in .tar.gz or .tgz",
            received=repr(os.fspath(archive_path)),
            where="archive_path",
            fix=f"keras-hub-layers pack {os.fspath(directory)} {os.path.basename(source)}.tar.gz",
        )
    inside, outside = os.path.realpath(source), os.path.realpath(target)
    if outside.startswith(os.path.join(inside, "")):
        raise ExportError(
            "The archive would lie in the SavedModel itself, and be packed with it the next time.",
            expected="a path outside of the directory",
            received=repr(os.fspath(archive_path)),
            where=source,
            fix=f"keras-hub-layers pack {shlex.quote(source)} {shlex.quote(source + '.tar.gz')}",
        )
    again = f"keras-hub-layers pack {shlex.quote(os.fspath(directory))} {{}}"
    problem = "The archive cannot be written."
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):  # a typo, more likely than a wish
        raise write_error(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder), target, again, problem)
    with (
        replace_file(target, again, problem) as draft,
        open(draft, "xb") as file,
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed,
    ):
        write_tar(source, packed)
    return target


def write_tar(directory: str, stream: gzip.GzipFile) -> None:
    """Write the regular files below a directory as a tar stream, always the same bytes for the same files."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in walk(directory):
            info = tarfile.TarInfo(name)
            if os.path.isdir(path):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
                continue
            with open(path, "rb") as file:
                info.size, info.mode = os.fstat(file.fileno()).st_size, 0o644
                archive.addfile(info, file)


def check_saved_model(directory: str) -> None:
    """Refuse what holds no SavedModel."""
    if not is_saved_model(directory):
        there = os.path.isdir(directory)
        raise ExportError(
            "There is no SavedModel to share.",
            expected="a directory that holds saved_model.pb",
            received=(", ".join(sorted(os.listdir(directory))[:20]) or "an empty directory")
            if there
            else "no such directory",
            where=directory,
            fix="export one first: keras_hub_layers.export(layer, 'export')",
        )


def walk(directory: str) -> Iterator[tuple[str, str]]:
    """Name in the archive and path of every directory and file, sorted; links are followed to regular files only."""
    with os.scandir(directory) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield entry.name, entry.path
            for name, path in walk(entry.path):
                yield f"{entry.name}/{name}", path
        elif entry.is_file():
            yield entry.name, entry.path
        else:
            raise ExportError(
                "Only regular files and directories can be packed.",
                expected="files, directories, or links to files",
                received="a link to a directory, a broken link, a pipe, a socket or a device",
                where=entry.path,
                fix=f"remove it, or put its content in its place: rm {entry.path!r}",
            )
