"""Where a resolved model lives: key, validation, atomic swap, list, verify, remove.

The layout is shared with tensorflow_hub: an entry is the directory `<sha1 of the exact handle>`, beside it a
`.descriptor.txt`. Ours also have a `.manifest.json` with the size and SHA-256 of every file. An entry comes into being
by one rename of a finished directory, so it is there whole or not at all; the lock only saves a second download.
(The lock must not be `<sha1>.lock`: tensorflow_hub takes that file for its own, and waits ten minutes for it to go.)
"""

import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

import platformdirs

from keras_hub_layers._src.files.deadline import Deadline
from keras_hub_layers._src.files.layout import is_whole
from keras_hub_layers._src.files.locks import hold
from keras_hub_layers._src.files.manifests import Manifest, contents, sizes
from keras_hub_layers._src.files.write_errors import write_error
from keras_hub_layers._src.resolve import work_names
from keras_hub_layers._src.resolve.environment import mirrors
from keras_hub_layers._src.resolve.handles import display, mirror, parse
from keras_hub_layers.errors import HandleError, HandleNotFoundError, HubError, ResolveError

Fill = Callable[[str], tuple[str, str | None]]


@dataclass(frozen=True)
class Entry:
    """One cached model.

    Attributes:
        key: Name of the directory in the cache.
        handle: The handle, without password; None when nobody noted it.
        path: The directory that holds the SavedModel.
        size: Bytes of all files.
        created: When it was stored, in seconds since the epoch.
        archive_sha256: Of the archive's bytes; None when unknown.
        verifiable: Whether the SHA-256 of every file is known (not for entries of tensorflow_hub).
    """

    key: str
    handle: str | None
    path: str
    size: int
    created: float
    archive_sha256: str | None
    verifiable: bool


class Cache:
    """The directory of resolved models.

    Args:
        root: Defaults to None: `TFHUB_CACHE_DIR`, else `KERAS_HUB_LAYERS_CACHE`, else the user's cache directory.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None):
        chosen = root or os.environ.get("TFHUB_CACHE_DIR") or os.environ.get("KERAS_HUB_LAYERS_CACHE")
        if chosen and "://" in os.fspath(chosen):
            raise ResolveError(
                "The cache cannot be on a remote file system.",
                expected="a local directory",
                received=repr(display(chosen)),
                where="TFHUB_CACHE_DIR or KERAS_HUB_LAYERS_CACHE",
                fix="export TFHUB_CACHE_DIR=~/.cache/keras_hub_layers",
            )
        self.root = os.path.abspath(
            os.path.expanduser(chosen or platformdirs.user_cache_dir("keras_hub_layers", appauthor=False))
        )

    def path(self, text: str) -> str:
        """Where the entry of a handle is, or would be."""
        return os.path.join(self.root, key_of(text))

    def find(self, text: str, sha256: str | None = None) -> str | None:
        """The directory of a valid entry, or None.

        Args:
            text: The exact handle.
            sha256: SHA-256 that the entry's archive must have had. Defaults to None: any.
        """
        path = self.path(text)
        manifest = Manifest.read(path)
        if sha256 and (not manifest or manifest.archive_sha256 != sha256.lower()):
            return None
        whole = manifest.fits(path) if manifest else is_whole(path)
        return path if whole else None

    def put(
        self,
        text: str,
        fill: Fill,
        sha256: str | None = None,
        label: str | None = None,
        deadline: Deadline | None = None,
    ) -> str:
        """Find an entry, or make it: once, also when many processes ask for it at the same time.

        Args:
            text: The exact handle.
            fill: Gets an empty work directory; returns the directory below it that becomes the entry, and the
                SHA-256 of the archive, if there was one.
            sha256: SHA-256 that the entry's archive must have. Defaults to None: any.
            label: What listings call the entry. Defaults to the handle.
            deadline: How long to wait for another process that makes the entry. Defaults to `None`.

        Returns:
            The entry's directory.

        Raises:
            ResolveError: The cache cannot be written; or what `fill` raises. Nothing is left behind.
        """
        with self._storage_errors():
            os.makedirs(self.root, exist_ok=True)
            with self.lock(text, deadline):
                work_names.sweep(self.root)
                found = self.find(text, sha256)
                return found or self._make(text, fill, sha256, label or text)

    def entries(self) -> list[Entry]:
        """All entries, ours and those of tensorflow_hub, newest first.

        Raises:
            ResolveError: The root is a file.
        """
        found = []
        if os.path.isfile(self.root):
            raise ResolveError(
                "The cache is a file, not a directory.",
                expected="a directory, or a path where one can be made",
                received="a file",
                where=self.root,
                fix="choose another directory:\nexport TFHUB_CACHE_DIR=/large/disk/tfhub",
            )
        with suppress(FileNotFoundError):
            for name in os.listdir(self.root):
                with suppress(FileNotFoundError):  # another process may be removing it
                    if re.fullmatch("[0-9a-f]{40}", name):
                        found.append(self._entry(name))
        return sorted(found, key=lambda entry: -entry.created)

    def select(self, text: str) -> list[Entry]:
        """The entries of a handle, as `resolve` takes it; of a key, as `entries` shows it; or of an entry's path.

        Raises:
            HandleNotFoundError: There is none.
        """
        shown = display(text)
        names = {text, *_stored_under(text)}
        keys, handles, path = set(map(key_of, names)), set(map(display, names)), os.path.abspath(text)
        start = text if re.fullmatch("[0-9a-f]{12,40}", text) else " "  # of a key, as a terminal shows it
        chosen = [
            entry
            for entry in self.entries()
            if entry.key in keys or entry.key.startswith(start) or entry.handle in handles or entry.path == path
        ]
        if not chosen:
            known = sorted(entry.handle or entry.key for entry in self.entries())
            raise HandleNotFoundError(
                "This model is not in the cache.",
                expected="one of\n" + ("\n".join(known[:20]) or "(the cache is empty)"),
                received=repr(shown),
                where=self.root,
                fix="see what is there: keras-hub-layers cache list",
            )
        return chosen

    def verify(self, entry: Entry) -> list[str]:
        """What is wrong with an entry: every file is read; an empty list is good news."""
        manifest = Manifest.read(entry.path)
        try:
            if manifest:
                return manifest.differences(entry.path)
        except OSError as error:
            return [f"unreadable: {error.filename} ({error.strerror})"]
        return [] if is_whole(entry.path) else ["incomplete: the SavedModel's file or some variables are missing"]

    def remove(self, entry: Entry) -> None:
        """Delete an entry and what stands beside it."""
        with self._storage_errors(), self._lock_key(entry.key):
            self._discard(entry.path)
            for beside in (Manifest.path(entry.path), entry.path + ".descriptor.txt"):
                with suppress(FileNotFoundError):
                    os.unlink(beside)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """What the system refuses comes out as ResolveError, with what to do about it."""
        try:
            yield
        except HubError:
            raise
        except OSError as error:
            cause = write_error(error, self.root, "export TFHUB_CACHE_DIR={}")
            raise ResolveError(
                "The cache cannot be written.",
                expected=cause.expected,
                received=f"{type(error).__name__}: {error.strerror or error}",
                where=self.root,
                fix=f"{cause.fix}\nSee what the cache holds: keras-hub-layers cache list",
            ) from error

    def _make(self, text: str, fill: Fill, sha256: str | None, label: str) -> str:
        work = work_names.new(self.root, key_of(text))
        os.mkdir(work)
        try:
            model, archive_sha256 = fill(work)
            manifest = Manifest(display(label), contents(model), archive_sha256)
            path = self._swap(text, model, manifest, sha256)
            _write(Manifest.path(path), manifest.to_json(), work)
            _write(path + ".descriptor.txt", _descriptor(label), work)
            return path
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _swap(self, text: str, model: str, manifest: Manifest, sha256: str | None) -> str:
        """Put a finished directory in place; what stands there is replaced only when it is not valid."""
        path = self.path(text)
        for _ in range(10):
            if os.path.isdir(path) and (
                self.find(text, sha256) or (is_whole(path) and contents(path) == manifest.files)
            ):
                return path
            with suppress(FileNotFoundError):
                os.unlink(Manifest.path(path))
            self._discard(path)
            try:
                os.rename(model, path)
            except OSError as error:  # another process was faster: look again
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                return path
        raise OSError(errno.EBUSY, "other processes keep changing the entry", path)

    def _discard(self, path: str) -> None:
        """Take a directory out of the way in one step, then delete it."""
        aside = work_names.new(self.root, os.path.basename(path))
        with suppress(FileNotFoundError):
            os.rename(path, aside)
            shutil.rmtree(aside, ignore_errors=True)
            with suppress(OSError):
                os.unlink(aside)

    def lock(self, text: str, deadline: Deadline | None = None) -> AbstractContextManager[None]:
        """Hold the lock of a handle, so that others who want the same model wait until it is there.

        Args:
            text: The exact handle.
            deadline: That of the call that waits. Defaults to `None`: any growth of the work is a sign of life.
        """
        return self._lock_key(key_of(text), deadline)

    def _lock_key(self, key: str, deadline: Deadline | None = None) -> AbstractContextManager[None]:
        def signs() -> object:
            files = work_names.signs_of_life(self.root, key)
            return sum(size for _, size in files) // deadline.step if deadline else files

        return hold(os.path.join(self.root, ".locks", key), signs, deadline)

    def _entry(self, name: str) -> Entry:
        path = os.path.join(self.root, name)
        manifest = Manifest.read(path)
        handle = manifest.handle if manifest else None
        if not manifest:
            with suppress(OSError, UnicodeDecodeError), open(path + ".descriptor.txt", encoding="utf-8") as file:
                handle = display(file.readline().removeprefix("Module: ").rstrip("\n")) or None
        return Entry(
            key=name,
            handle=handle,
            path=path,
            size=sum(size for _, size in sizes(path)),
            created=manifest.created if manifest else os.stat(path).st_mtime,
            archive_sha256=manifest.archive_sha256 if manifest else None,
            verifiable=manifest is not None,
        )


def _stored_under(text: str) -> Iterator[str]:
    """The texts under which `resolve` may have stored what a handle names; nothing for a text that is no handle."""
    with suppress(HandleError):
        for handle in (parse(text), parse(mirror(text, mirrors()))):
            yield from (handle.text, *handle.spellings)
            if handle.kind in ("path", "kaggle"):
                yield os.path.abspath(handle.location)  # an archive, whatever the directory was then


def key_of(text: str) -> str:
    """The name of a handle's entry: the SHA-1 of its exact text, as in tensorflow_hub."""
    return hashlib.sha1(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def _write(path: str, text: str, work: str) -> None:
    """Write a file in one step, by way of the work directory."""
    draft = os.path.join(work, uuid.uuid4().hex)
    with open(draft, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(draft, path)


def _descriptor(label: str) -> str:
    """What tensorflow_hub writes beside its entries, for people to read."""
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    who = f"{work_names.host()} (PID:{os.getpid()})"
    return f"Module: {display(label)}\nDownload Time: {when}\nDownloader Hostname: {who}"
