"""What a handle may look like: text to frozen `Handle` and back, without any I/O.

A *handle* is whatever a user gives to name a SavedModel. `parse` reads it once, here; every later
module takes the record and never splits the text again.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from keras_hub_layers.errors import HandleError

Kind = Literal["path", "url", "remote", "kaggle", "huggingface"]


FORMS = """\
a local directory or archive   /models/encoder, ~/models/encoder, encoder.tar.gz, file:///models/encoder
a server of TF Hub's protocol  https://tfhub.dev/google/nnlm-en-dim50/2
a Kaggle model's page          https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1
Kaggle's shorthand             google/nnlm/tensorFlow2/en-dim50/1
an archive on any web server   https://example.com/encoder.tar.gz (.tgz, .tar, .zip)
a remote file system           gs://bucket/encoder, s3://bucket/encoder, hdfs://host/encoder
a Hugging Face repository      hf://owner/repo/subfolder@revision"""


ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")


_REMOTE = ("gs", "s3", "hdfs", "viewfs", "har", "az", "ram")


FRAMEWORKS = (  # of Kaggle's models, as Kaggle writes them
    "tensorFlow1", "tensorFlow2", "tfLite", "tfJs", "coral", "keras", "jax", "flax", "pyTorch",
    "scikitLearn", "transformers", "onnx", "other", "api",
)  # fmt: skip


_FRAMEWORKS = {name.lower(): name for name in FRAMEWORKS}


_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]+):"  # two letters or more: "C:" is a Windows drive


_SLUG = r"[A-Za-z0-9][A-Za-z0-9._-]*"


_SECRET = r"(?i)(token|secret|sig|signature|password|passwd|pwd|key|credential|auth)s?$"


@dataclass(frozen=True)
class KaggleModel:
    """One variation of a Kaggle model; `version` is None for the newest."""

    owner: str
    model: str
    framework: str
    variation: str
    version: int | None = None

    def __str__(self) -> str:
        parts = (self.owner, self.model, self.framework, self.variation)
        return "/".join(parts if self.version is None else (*parts, str(self.version)))


@dataclass(frozen=True)
class HuggingFaceModel:
    """A SavedModel in a Hugging Face repository; `revision` is None for the main branch."""

    repo: str
    subfolder: str = ""
    revision: str | None = None


@dataclass(frozen=True)
class Handle:
    """What a handle says, read once.

    Attributes:
        text: The handle exactly as it was given; it is the key of the cache.
        kind: "path", "url", "remote", "kaggle" or "huggingface".
        location: The path with `~` expanded and `file://` undone, or the text itself.
        kaggle: The model that a Kaggle URL or shorthand names, else None.
        hugging_face: The repository that an `hf://` handle names, else None.
    """

    text: str
    kind: Kind
    location: str
    kaggle: KaggleModel | None = None
    hugging_face: HuggingFaceModel | None = None

    @property
    def is_archive(self) -> bool:
        """Whether the path or the URL's path ends like an archive."""
        path = urlsplit(self.location).path if self.kind == "url" else self.location
        return path.lower().endswith(ARCHIVE_SUFFIXES)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Other handles that name exactly the same model (a fixed version on Kaggle)."""
        if self.kaggle is None or self.kaggle.version is None:
            return ()
        k = self.kaggle
        site = f"https://www.kaggle.com/models/{k.owner}/{k.model}"
        same = (
            str(k),
            f"{site}/{k.framework}/{k.variation}/{k.version}",
            f"{site}/frameworks/{k.framework}/variations/{k.variation}/versions/{k.version}",
        )
        return tuple(text for text in same if text != self.text)

    @property
    def kaggle_archive(self) -> str | None:
        """Where Kaggle's interface for programs sends the archive of a page with a fixed version; else None."""
        if self.kind != "url" or self.kaggle is None or self.kaggle.version is None:
            return None
        url = urlsplit(self.location)
        return f"{url.scheme}://{url.netloc}/api/v1/models/{self.kaggle}/download"

    def __str__(self) -> str:
        return display(self.text)


def parse(handle: str | os.PathLike[str]) -> Handle:
    """Read a handle.

    Args:
        handle: Text or path in one of the accepted forms (`handles.FORMS`).

    Returns:
        A frozen `Handle`. Nothing is looked up: neither disk nor network.

    Raises:
        HandleError: The text has none of the accepted forms; the message lists them.

    Example:

    >>> parse("https://tfhub.dev/google/nnlm-en-dim50/2").kind
    'url'
    >>> parse("google/nnlm/tensorflow2/en-dim50/1").kaggle.framework
    'tensorFlow2'
    """
    if isinstance(handle, os.PathLike):
        path = os.fspath(handle)
        return Handle(path, "path", os.path.expanduser(path))
    if not isinstance(handle, str):
        raise _unknown(handle, "A handle is a str or a path.")
    if not handle.strip():
        raise _unknown(handle, "The handle is empty.")
    if "\0" in handle:
        raise _unknown(handle, "The handle contains a NUL character.")
    match = re.match(_SCHEME, handle)
    scheme = match.group(1).lower() if match else ""
    if scheme in ("http", "https"):
        return _parse_url(handle)
    if scheme == "file":
        return Handle(handle, "path", _path_of_file_url(handle))
    if scheme == "hf":
        return Handle(handle, "huggingface", handle, hugging_face=_parse_hugging_face(handle))
    if scheme in _REMOTE and handle[len(scheme) :].startswith("://"):
        if not handle.partition("://")[2].strip("/"):
            raise _unknown(handle, "It names no place on the remote file system.")
        return Handle(handle, "remote", handle)
    if "://" in handle:
        raise _unknown(handle, f"The scheme {handle.split('://')[0]!r} is not one that can be read.")
    kaggle = _kaggle_parts(handle.split("/"))
    return Handle(handle, "kaggle" if kaggle else "path", os.path.expanduser(handle), kaggle=kaggle)


def display(text: object) -> str:
    """Give a handle or URL as it may be shown: without user name, password or signed query values.

    Args:
        text: A handle; anything that is not a URL comes back as it is.

    Returns:
        The text for messages, logs and listings.
    """
    text = str(text)
    if "://" not in text:
        return text
    scheme, rest = text.split("://", 1)
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    authority, tail = rest[:end], rest[end:]
    if "@" in authority:
        authority = "***@" + authority.rsplit("@", 1)[1]
    if "?" in tail:
        path, query = tail.split("?", 1)
        pairs = (pair.partition("=") for pair in query.split("&"))
        tail = path + "?" + "&".join(k + "=***" if v and re.search(_SECRET, k) else k + e + v for k, e, v in pairs)
    return f"{scheme}://{authority}{tail}"


def mirror(text: str, mirrors: Mapping[str, str]) -> str:
    """Replace the longest matching prefix of a handle by the copy that an organisation serves.

    Args:
        text: The handle.
        mirrors: Handle prefix to URL or directory. A prefix ends at a "/" of the handle, or is all of it.

    Returns:
        The handle of the copy, or `text` when no prefix matches.
    """
    for prefix in sorted(mirrors, key=len, reverse=True):
        stem = prefix.rstrip("/")
        if text == stem or text.startswith((stem + "/", stem + "?")):
            return mirrors[prefix].rstrip("/") + text[len(stem) :]
    return text


def _parse_url(text: str) -> Handle:
    """A Handle for http:// and https://."""
    if re.search(r"[\x00-\x20\x7f]", text):
        raise _unknown(text, "A URL contains neither spaces nor control characters.")
    try:
        url = urlsplit(text)
        host = url.hostname
        url.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise _unknown(text, f"The URL cannot be read: {error}.") from error
    if not host:
        raise _unknown(text, "The URL names no host.")
    return Handle(text, "url", text, kaggle=_kaggle_of_url(url))


def _kaggle_of_url(url: SplitResult) -> KaggleModel | None:
    """The model that a page of kaggle.com shows, in its long or short shape."""
    host = (url.hostname or "").lower()
    parts = [unquote(segment) for segment in url.path.split("/") if segment]
    if not (host == "kaggle.com" or host.endswith(".kaggle.com")) or parts[:1] != ["models"]:
        return None
    parts = parts[1:]
    if len(parts) in (6, 8) and parts[2].lower() == "frameworks" and parts[4].lower() == "variations":
        if len(parts) == 8 and parts[6].lower() != "versions":
            return None
        return _kaggle_parts([*parts[:2], parts[3], parts[5], *parts[7:]])
    return _kaggle_parts(parts)


def _kaggle_parts(parts: list[str]) -> KaggleModel | None:
    """The model of owner/model/framework/variation[/version], or None for another shape."""
    if len(parts) not in (4, 5) or parts[2].lower() not in _FRAMEWORKS:
        return None
    if not all(re.fullmatch(_SLUG, segment) for segment in parts):
        return None
    if len(parts) == 5 and not re.fullmatch("[1-9][0-9]*", parts[4]):
        return None
    owner, model, framework, variation = parts[:4]
    version = int(parts[4]) if len(parts) == 5 else None
    return KaggleModel(owner, model, _FRAMEWORKS[framework.lower()], variation, version)


def _parse_hugging_face(text: str) -> HuggingFaceModel:
    """The repository, folder and revision of hf://owner/repo[/subfolder][@revision]."""
    rest = text.split(":", 1)[1]
    path, _, revision = rest.removeprefix("//").partition("@")
    parts = path.strip("/").split("/")
    fine = rest.startswith("//") and len(parts) >= 2 and all(re.fullmatch(_SLUG, segment) for segment in parts[:2])
    if not fine or any(segment in ("", ".", "..") for segment in parts) or (revision == "" and "@" in rest):
        raise _unknown(text, "An hf:// handle is hf://owner/repo[/subfolder][@revision].")
    return HuggingFaceModel("/".join(parts[:2]), "/".join(parts[2:]), revision or None)


def _path_of_file_url(text: str) -> str:
    """The absolute path of file:///path, file://localhost/path or file:/path."""
    rest = text.split(":", 1)[1]
    host = ""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        rest = slash + path
    if host.lower() not in ("", "localhost") or not rest.startswith("/"):
        raise _unknown(text, "A file:// handle names an absolute path on this machine.")
    path = unquote(rest)
    if "\0" in path:
        raise _unknown(text, "The path contains a NUL character.")
    return path[1:] if re.match(r"/[A-Za-z]:[/\\]", path) else path


def _unknown(received: object, problem: str) -> HandleError:
    """The error that lists every accepted form."""
    shown = repr(display(received)) if isinstance(received, str) else f"{received!r} ({type(received).__name__})"
    return HandleError(
        f"This is not a handle of a SavedModel. {problem}",
        expected=f"one of these forms\n{FORMS}",
        received=shown,
        where="the handle",
        fix="HubLayer('https://tfhub.dev/google/nnlm-en-dim50/2')   # for example",
    )
