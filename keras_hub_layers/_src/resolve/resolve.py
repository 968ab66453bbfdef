"""resolve(handle) -> directory: an ordered list of resolvers, each of which knows one kind of handle."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass

from keras_hub_layers._src.files.deadline import Deadline
from keras_hub_layers._src.public import public
from keras_hub_layers._src.resolve.cache import Cache
from keras_hub_layers._src.resolve.checksums import check_pin, parse_pin, refuse_pin
from keras_hub_layers._src.resolve.clients import not_cached_error, resolve_hugging_face, resolve_kaggle
from keras_hub_layers._src.resolve.environment import mirrors, offline, wants_uncompressed
from keras_hub_layers._src.resolve.handles import Handle, display, mirror, parse
from keras_hub_layers._src.resolve.http.bounds import Bounds
from keras_hub_layers._src.resolve.local import resolve_path, unpack_into
from keras_hub_layers._src.resolve.page_urls import refuse_framework, refuse_page
from keras_hub_layers.errors import (
    ArchiveError,
    ChecksumError,
    DownloadError,
    HandleNotFoundError,
    ResolveError,
    add_place,
)


@public()
def resolve(handle: str | os.PathLike[str], sha256: str | None = None) -> str:
    """Find the directory of the SavedModel that a handle names; download it if it is not there yet.

    A model is downloaded once, and unpacked into the cache (`TFHUB_CACHE_DIR`, else `KERAS_HUB_LAYERS_CACHE`, else the
    user's cache directory). Later calls find it there, also without a network.

    Args:
        handle: A path, URL or hub id; the error for a handle of no known form lists them.
        sha256: SHA-256 of the archive's bytes, 64 hexadecimal digits, that the model must come from. Defaults to
            None: any. Only for handles that are fetched or unpacked as one archive.

    Returns:
        The absolute path of a local directory; or the handle itself, for a remote file system that TensorFlow reads.

    Raises:
        HandleError: The handle has none of the accepted forms.
        HandleNotFoundError: Nothing is stored there.
        OfflineError: It is not in the cache and `KERAS_HUB_LAYERS_OFFLINE` is set.
        ChecksumError: The archive is not the pinned one, or there is no archive to compare.
        DownloadError: The transfer failed, was refused, or took too long.
        ArchiveError: The archive is damaged, hostile, or holds no SavedModel.
        ResolveError: The directory holds no SavedModel, or the cache cannot be written.

    Example:

    ```python
    directory = keras_hub_layers.resolve("https://tfhub.dev/google/nnlm-en-dim50/2")
    ```
    """
    parsed = parse(handle)
    pin = parse_pin(sha256, parsed.text)
    copy = mirror(parsed.text, mirrors())
    if copy != parsed.text:
        parsed = parse(copy)
    for resolver in RESOLVERS:
        if resolver.supports(parsed):
            return resolver(parsed, pin)
    raise AssertionError(f"no resolver for a handle of kind {parsed.kind!r}")


@dataclass(frozen=True)
class Resolver:
    """What one kind of handle becomes."""

    supports: Callable[[Handle], bool]
    run: Callable[[Handle, str | None], str]

    def __call__(self, handle: Handle, sha256: str | None) -> str:
        return self.run(handle, sha256)


def _download(handle: Handle, sha256: str | None) -> str:
    """The hosting protocol, or an archive at a fixed address, by way of the cache."""
    cache = Cache()
    for text in (handle.text, *handle.spellings):
        if cached := cache.find(text, sha256):
            return cached
    refuse_page(handle)
    if offline():
        raise not_cached_error(handle, cache.root)
    url = handle.location if handle.is_archive else _with_query(handle.location, "tf-hub-format=compressed")

    from keras_hub_layers._src.resolve.archives.unpack import is_damaged

    bounds = Bounds.from_environment()
    deadline = bounds.deadline()

    def fill(work: str) -> tuple[str, str | None]:
        archive = os.path.join(work, "archive")
        for is_last in (False, True):
            received = _fetch(handle, url, archive, bounds, deadline)
            try:
                with add_place(display(handle.text)):
                    check_pin(sha256, received)
                return unpack_into(archive, work, display(handle.text)), received
            except (ArchiveError, ChecksumError):
                if is_last or not is_damaged(archive):  # damage on the way may be gone the next time
                    raise
        raise AssertionError("the last try returns or raises")

    try:
        return cache.put(handle.text, fill, sha256, deadline=deadline)
    except (DownloadError, HandleNotFoundError) as refusal:
        if not handle.kaggle or sha256 or not importlib.util.find_spec("kagglehub"):
            raise
        try:  # a private model, which kagglehub has the credentials for
            return resolve_kaggle(handle, None)
        except ResolveError as error:
            raise refusal from error


def _fetch(handle: Handle, url: str, archive: str, bounds: Bounds, deadline: Deadline) -> str:
    """Fetch an archive into a file; its SHA-256."""
    from keras_hub_layers._src.resolve.download import download  # requests imports for longer than a cache hit takes

    try:
        return download(url, archive, bounds=bounds, deadline=deadline).sha256
    except (DownloadError, HandleNotFoundError) as refusal:
        if not handle.kaggle_archive:
            raise
        try:  # Kaggle answers some requests for a page's archive with the page
            return download(handle.kaggle_archive, archive, bounds=bounds, deadline=deadline).sha256
        except (DownloadError, HandleNotFoundError) as error:
            raise refusal from error


def _resolve_uncompressed(handle: Handle, sha256: str | None) -> str:
    """The other form of the hosting protocol: the server names a place that TensorFlow reads without a download."""
    from keras_hub_layers._src.resolve.http.see_other import see_other

    refuse_pin(handle, sha256, "a directory on a remote file system")
    if offline():
        raise not_cached_error(handle, "no cache: TFHUB_MODEL_LOAD_FORMAT=UNCOMPRESSED reads in place")
    place = see_other(_with_query(handle.location, "tf-hub-format=uncompressed"), Bounds.from_environment())
    if not place.startswith("gs://"):
        raise DownloadError(
            "The server names no place that can be read without a download.",
            expected="a gs:// path",
            received=repr(place[:200]),
            where=display(handle.text),
            fix="ask for the archive: export TFHUB_MODEL_LOAD_FORMAT=COMPRESSED",
        )
    return place


def _kaggle(handle: Handle, sha256: str | None) -> str:
    """A model that another spelling of its handle has brought into the cache needs no client."""
    cache = Cache()
    cached = next((path for text in handle.spellings if (path := cache.find(text, sha256))), None)
    if not cached:
        refuse_framework(handle)
    return cached or resolve_kaggle(handle, sha256)


def _remote(handle: Handle, sha256: str | None) -> str:
    """A path that TensorFlow's own file systems read."""
    refuse_pin(handle, sha256, "a directory on a remote file system")
    return handle.location


RESOLVERS = [
    Resolver(lambda h: h.kind == "remote", _remote),
    Resolver(lambda h: h.kind == "url" and not h.is_archive and wants_uncompressed(), _resolve_uncompressed),
    Resolver(lambda h: h.kind == "url", _download),
    Resolver(lambda h: h.kind == "huggingface", resolve_hugging_face),
    Resolver(lambda h: h.kind == "kaggle" and not os.path.exists(h.location), _kaggle),
    Resolver(lambda h: h.kind in ("path", "kaggle"), resolve_path),
]


def _with_query(url: str, query: str) -> str:
    """A URL with one more query parameter; what is there stays as it is, since it may be signed."""
    url = url.split("#", 1)[0]
    if query in url.partition("?")[2].split("&"):
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"
