"""Where models come from and are kept: the cache's directory, the network's settings. Passwords are not shown."""

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator

from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, of_error
from keras_hub_layers._src.files.layout import is_whole
from keras_hub_layers._src.files.manifests import Manifest
from keras_hub_layers._src.resolve import environment
from keras_hub_layers._src.resolve.cache import Cache
from keras_hub_layers._src.resolve.handles import display
from keras_hub_layers._src.text.words import format_count, readable
from keras_hub_layers.errors import HubError

_SMALL = 2e9  # bytes: less free space than this is too little for many models


_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def check() -> list[Finding]:
    """Look at the cache and at the network's settings; nothing is sent.

    Returns:
        A list of `Finding`.
    """
    return [*_check_cache(), *_check_network(), *_check_certificates(), *_check_limits()]


def _check_cache() -> Iterator[Finding]:
    try:
        cache = Cache()
    except HubError as error:
        yield of_error(error, "cache")
        return
    source = next((name for name in ("TFHUB_CACHE_DIR", "KERAS_HUB_LAYERS_CACHE") if os.environ.get(name)), "default")
    reason = _why_not_writable(cache.root)
    if reason:
        elsewhere = "export TFHUB_CACHE_DIR=/large/disk/tfhub"
        yield Finding("cache", PROBLEM, f"{cache.root} ({source}) cannot be written: {reason}", elsewhere)
        return
    entries = cache.entries()
    text = f"{cache.root} ({source}), {format_count(len(entries), 'model')}, {readable(sum(e.size for e in entries))}"
    yield Finding("cache", OK, text)
    free = shutil.disk_usage(_nearest_existing(cache.root)).free
    if free < _SMALL:
        yield Finding("cache", WARNING, f"only {readable(free)} are free", "keras-hub-layers cache list")
    broken = [entry for entry in entries if not _is_whole(entry.path)]
    if broken:
        lines = [f"keras-hub-layers cache remove {entry.handle or entry.key}" for entry in broken]
        names = ", ".join(entry.handle or entry.key for entry in broken)
        yield Finding("cache", PROBLEM, f"files are missing or cut short: {names}", "\n".join(lines))
    unfinished = _count_unfinished(cache.root)
    if unfinished:
        text = f"{format_count(unfinished, 'unfinished download')}; those of killed processes go with the next download"
        yield Finding("cache", WARNING, text)


def _why_not_writable(root: str) -> str:
    """Why nothing can be written, `""` if it can."""
    directory = _nearest_existing(root)
    if not os.path.isdir(directory):
        return f"{directory} is a file"
    test_file = os.path.join(directory, f".{uuid.uuid4().hex}.tmp")
    try:
        with open(test_file, "xb"):
            pass
        os.unlink(test_file)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _nearest_existing(path: str) -> str:
    """The path, or the nearest directory above it that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _is_whole(path: str) -> bool:
    manifest = Manifest.read(path)
    return manifest.fits(path) if manifest else is_whole(path)


def _count_unfinished(root: str) -> int:
    names = os.listdir(root) if os.path.isdir(root) else []
    return sum(bool(re.fullmatch(r"[0-9a-f]{40}\..+\.tmp", name)) for name in names)


def _check_network() -> Iterator[Finding]:
    if environment.offline():
        text = "KERAS_HUB_LAYERS_OFFLINE is set: only what is local or in the cache can be used"
        yield Finding("network", WARNING, text, "unset KERAS_HUB_LAYERS_OFFLINE")
    else:
        yield Finding("network", OK, "allowed (KERAS_HUB_LAYERS_OFFLINE is not set)")
    if os.environ.get("HF_HUB_OFFLINE"):
        yield Finding("network", WARNING, "HF_HUB_OFFLINE is set, for hf:// handles", "unset HF_HUB_OFFLINE")
    try:
        table = environment.mirrors()
    except HubError as error:
        yield of_error(error, "mirrors")
        table = {}
    if table:
        yield Finding("mirrors", OK, "\n".join(f"{display(key)} -> {display(table[key])}" for key in table))
    proxies = [f"{name}={_without_password(os.environ[name])}" for name in _PROXIES if os.environ.get(name)]
    if proxies:
        yield Finding("proxy", OK, "\n".join(proxies))


def _without_password(text: str) -> str:
    """A proxy's address; it may stand without a scheme."""
    return display(text) if "://" in text else re.sub(r"^[^@/,]*@", "***@", text)


def _check_certificates() -> Iterator[Finding]:
    for name in _CERTIFICATES:
        path = os.environ.get(name)
        if path and not os.path.exists(path):
            yield Finding("certificates", PROBLEM, f"{name} names {path!r}, which is not there", f"unset {name}")
        elif path:
            yield Finding("certificates", OK, f"{name}={path}")
    if environment.unchecked_certificates():
        text = "TFHUB_DISABLE_CERT_VALIDATION is true: anybody between you and the server can replace a model"
        yield Finding("certificates", WARNING, text, "unset TFHUB_DISABLE_CERT_VALIDATION")


def _check_limits() -> Iterator[Finding]:
    readers: tuple[Callable[[], object], ...] = (
        environment.timeout,
        environment.min_speed,
        environment.max_bytes,
        environment.max_members,
    )
    for read in readers:
        try:
            read()
        except HubError as error:
            yield of_error(error, "settings")
