"""One GET over HTTP: trust, redirects, credentials, and a bound on every wait.

Credentials in a URL go to the origin that they were written for and to no other; redirects lead to http and
https only and never from https down to http; no server can keep a call waiting beyond its `Bounds`.
"""

import queue
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from keras_hub_layers._src.resolve import environment
from keras_hub_layers._src.resolve.handles import display
from keras_hub_layers.errors import DownloadError, HandleNotFoundError, warn

_REDIRECTS = (301, 302, 303, 307, 308)


_ARCHIVE = "HTTP 200 and a .tar.gz, .tar or .zip archive"


T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """What a transfer may take. `Bounds.from_environment()` is what `resolve` uses.

    Attributes:
        attempts: First try and retries together. Defaults to 4.
        connect: Seconds until the connection stands. Defaults to 20.
        silence: Seconds until the answer's headers are there, and between two pieces of its body. Defaults to 60.
        min_speed: Bytes per second, on average over `silence`, below which a transfer counts as broken.
            Defaults to 1024.
        backoff: Seconds before the first retry; doubled before each further one. Defaults to 0.5.
        longest_wait: Seconds that a server may ask to wait (`Retry-After`). Defaults to 60.
        redirects: How many redirects are followed. Defaults to 10.
        max_bytes: Size of the file, in bytes. Defaults to 64 GiB.
    """

    attempts: int = 4
    connect: float = 20.0
    silence: float = 60.0
    min_speed: float = 1024.0
    backoff: float = 0.5
    longest_wait: float = 60.0
    redirects: int = 10
    max_bytes: int = 64 << 30

    @classmethod
    def from_environment(cls) -> "Bounds":
        """The defaults, with `KERAS_HUB_LAYERS_TIMEOUT` (seconds of silence) and `KERAS_HUB_LAYERS_MAX_BYTES`."""
        timeout, size, bounds = environment.timeout(), environment.max_bytes(), cls()
        if timeout:
            bounds = replace(bounds, connect=min(bounds.connect, timeout), silence=timeout)
        return replace(bounds, max_bytes=size) if size else bounds


class Broken(Exception):
    """An attempt failed in a way that another one may mend; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class _Session(requests.Session):
    """Redirects are followed by `get`, which knows what to refuse; requests would read their bodies, too."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


class _SystemTrust(HTTPAdapter):
    """Trusts the system's certificates (and SSL_CERT_FILE) besides those that requests brings."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=ssl.create_default_context(), **kwargs)


def session() -> requests.Session:
    """A session with the package's TLS settings; the caller closes it."""
    web = _Session()
    web.headers["User-Agent"] = "keras-hub-layers"
    if environment.unchecked_certificates():
        warn(
            "TFHUB_DISABLE_CERT_VALIDATION=true: whoever is on the way can replace the model, which is a program. "
            "Name your certificate authority instead: export SSL_CERT_FILE=/path/ca.pem"
        )
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        web.verify = False
    else:
        web.mount("https://", _SystemTrust())
    return web


def get(
    web: requests.Session, url: str, headers: dict[str, str], bounds: Bounds, *, redirects: bool = True
) -> tuple[requests.Response, str]:
    """Ask for a URL and follow where it leads.

    Args:
        web: A `session()`.
        url: The address; `user:password@` is sent to this origin only.
        headers: Further request headers.
        bounds: The limits.
        redirects: Whether to follow redirects. Defaults to True.

    Returns:
        The response, with its body unread, and the URL that answered, without credentials.

    Raises:
        Broken: No answer, for a reason that may pass.
        DownloadError: A redirect or certificate that is refused.
    """
    start = urlsplit(url)
    auth = (unquote(start.username or ""), unquote(start.password or "")) if start.username else None
    here = _bare(start)
    for _ in range(bounds.redirects + 1):
        response = _ask(web, here, headers, auth if _origin(urlsplit(here)) == _origin(start) else None, bounds)
        target = response.headers.get("Location")
        if not redirects or response.status_code not in _REDIRECTS or target is None:
            return response, here
        response.close()
        target = target.encode("latin-1").decode("utf-8", "replace")  # http.client reads headers as Latin-1
        try:
            there = urlsplit(urljoin(here, target))
            down = (urlsplit(here).scheme, there.scheme) == ("https", "http")
            if there.scheme not in ("http", "https") or not there.hostname or down or _origin(there)[2] == 0:
                raise ValueError("not a web address" if not down else "unencrypted")
        except ValueError as error:
            raise _bad_redirect(url, f"{error}: {display(target)[:200]!r}", "https (http only from http)") from error
        here = _bare(there)
    raise _bad_redirect(url, f"more than {bounds.redirects} redirects, at last to {display(here)[:200]}", "an end")


def see_other(url: str, bounds: Bounds) -> str:
    """The place that a 303 answer names in its body: the uncompressed form of the hosting protocol.

    Raises:
        DownloadError: Another answer, or none.
    """
    for attempt in range(1, bounds.attempts + 1):
        try:
            with session() as web:
                response, at = get(web, url, {"Accept-Encoding": "identity"}, bounds, redirects=False)
                with response, wire_errors(at):
                    body = response.raw.read1(4096)
            if response.status_code == 303:
                return body.decode("utf-8", "replace").strip()
            raise refused(url, at, response, body or b"nothing", "HTTP 303 with a gs:// path as its body")
        except Broken as broken:
            if attempt == bounds.attempts:
                raise DownloadError(
                    "The server does not answer.",
                    expected="HTTP 303 with a gs:// path as its body",
                    received=f"{broken} (attempt {attempt})",
                    where=display(url),
                    fix="check the network, or ask for the archive: export TFHUB_MODEL_LOAD_FORMAT=COMPRESSED",
                ) from broken
            time.sleep(bounds.backoff * 2 ** (attempt - 1))
    raise AssertionError("Bounds.attempts is at least 1")


@contextmanager
def wire_errors(url: str) -> Iterator[None]:
    """What goes wrong on the way comes out as `Broken`, a certificate that is not trusted as DownloadError."""
    try:
        yield
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        raise DownloadError(
            "The server's certificate is not trusted.",
            expected="a certificate that the system's or requests' authorities signed for this host",
            received=_reason(error),
            where=display(url),
            fix="if your organisation has its own certificate authority: export SSL_CERT_FILE=/path/to/ca.pem",
        ) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
        raise Broken(_reason(error)) from error


def refused(
    url: str, at: str, response: requests.Response, start: bytes = b"", expected: str = _ARCHIVE
) -> DownloadError | HandleNotFoundError:
    """The error for an answer that is not what was expected: it shows what came instead."""
    status = response.status_code
    if not start:
        with wire_errors(at):
            start = response.raw.read1(400)
    kind = HandleNotFoundError if status in (404, 410) else DownloadError
    fixes = {
        401: "give credentials: https://user:password@host/…, or an entry for the host in ~/.netrc",
        403: "check that you may read the model (accept its licence, sign in), or give credentials in ~/.netrc",
        404: f"check the path {urlsplit(display(url)).path!r}: its spelling, and the version at its end",
        410: "choose another model or version: this one was taken away",
    }
    fix = fixes.get(status, "open the address in a browser to see what it is:")
    if ".kaggle.com/" in display(at) and status in (401, 403, 404):
        fix += (
            "\nprivate Kaggle models: pip install 'keras-hub-layers[kaggle]' and use the handle OWNER/MODEL/FRAMEWORK/…"
        )
    if kind is not HandleNotFoundError:
        fix += f"\ncurl -L -o model.tar.gz {display(url)!r}"
    text = re.sub(r"[^\x20-\x7e]+", " ", start[:200].decode("latin-1")).strip()
    return kind(
        "The server has no such model." if kind is HandleNotFoundError else "The server did not send the model.",
        expected=expected,
        received=f"HTTP {status} {response.reason}, Content-Type {response.headers.get('Content-Type')}, "
        f"beginning with {text!r}",
        where=display(url) if at == url else f"{display(url)}, which led to {display(at)}",
        fix=fix,
    )


def retry_after(response: requests.Response) -> float | None:
    """What the server asks to wait, in seconds; None when it says nothing that can be read."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _ask(
    web: requests.Session, url: str, headers: dict[str, str], auth: tuple[str, str] | None, bounds: Bounds
) -> requests.Response:
    """One request, without redirects; the thread bounds what has no time-out: name look-up and slow headers."""

    def ask() -> requests.Response:
        # requests lets REQUESTS_CA_BUNDLE win over `Session.verify`, but not over the argument
        options = {"stream": True, "allow_redirects": False, "verify": web.verify}
        return web.get(url, headers=headers, auth=auth, timeout=(bounds.connect, bounds.silence), **options)

    with wire_errors(url):
        return _within(bounds.silence, ask)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, or TimeoutError; a call that does not come back is left to a daemon thread."""
    box: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((True, call()))
        except BaseException as error:
            box.put((False, error))

    threading.Thread(target=run, daemon=True, name="keras-hub-layers request").start()
    try:
        fine, result = box.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if not fine:
        raise result
    return result


def _origin(url: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials belong to."""
    port = url.port
    return (
        url.scheme,
        (url.hostname or "").lower(),
        {"http": 80, "https": 443}.get(url.scheme, 0) if port is None else port,
    )


def _bare(url: SplitResult) -> str:
    """A URL without user, password and fragment; the query stays as it is, since it may be signed."""
    return url._replace(netloc=url.netloc.rsplit("@", 1)[-1], fragment="").geturl()


def _bad_redirect(url: str, received: str, expected: str) -> DownloadError:
    return DownloadError(
        "The server redirects to where this download does not follow.",
        expected=expected,
        received=received,
        where=display(url),
        fix=f"look where it leads, and use that address if you trust it:\ncurl -sIL {display(url)!r}",
    )


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line: requests wraps what happened several times."""
    seen = error
    for _ in range(8):
        inner = getattr(seen, "reason", None) or next((a for a in seen.args if isinstance(a, BaseException)), None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    text = re.sub(r"^<[^>]*>: |^HTTPS?ConnectionPool\(.*?\): ", "", str(seen))
    return f"{type(seen).__name__}: {text[:300]}" if text else type(seen).__name__
