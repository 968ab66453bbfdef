"""One GET over HTTP: trust, redirects, credentials, and a bound on every wait.

Credentials in a URL go to the origin that they were written for and to no other; redirects lead to http and
https only and never from https down to http; no server can keep a call waiting beyond its `Bounds`.
"""

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
import urllib3

from keras_hub_layers._src.files.deadline import Deadline
from keras_hub_layers._src.resolve.handles import display
from keras_hub_layers._src.resolve.http.bounds import Bounds
from keras_hub_layers._src.resolve.http.refusals import bad_redirect
from keras_hub_layers.errors import DownloadError, HubError

_REDIRECTS = (301, 302, 303, 307, 308)


T = TypeVar("T")


class Answer(NamedTuple):
    """What a server answered.

    Attributes:
        response: The response, with its body unread.
        url: The URL that answered, without credentials.
        timeout: Seconds after which reading a piece of the body ends.
    """

    response: requests.Response
    url: str
    timeout: float


class Broken(Exception):
    """An attempt failed in a way that another one may mend; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


def retry(work: Callable[[], T], bounds: Bounds, deadline: Deadline, error: Callable[[str], HubError]) -> T:
    """The result of some work that is tried again, after a while, each time that it is `Broken`.

    Args:
        work: What is tried.
        bounds: How often, and with which waits.
        deadline: That of the call.
        error: Makes the error for the last failure, of what it says.
    """
    for attempt in range(1, bounds.attempts + 1):
        try:
            return work()
        except Broken as broken:
            wait = bounds.backoff * 2 ** (attempt - 1) if broken.wait is None else broken.wait
            if attempt < bounds.attempts and wait <= bounds.longest_wait and wait < deadline.left():
                time.sleep(wait)
                continue
            reason = f"{broken} (attempt {attempt}"
            if broken.wait:
                reason += f"; the server asks to wait {wait:.0f} s"
            if wait >= deadline.left():
                reason += f"; a call goes on for {deadline.seconds:g} s without progress, and no longer"
            raise error(reason) from (broken.__cause__ or broken)
    raise AssertionError("Bounds.attempts is at least 1")


def get(
    web: requests.Session,
    url: str,
    headers: dict[str, str],
    bounds: Bounds,
    deadline: Deadline | None = None,
    *,
    redirects: bool = True,
) -> Answer:
    """Ask for a URL and follow where it leads.

    Args:
        web: A `session()`.
        url: The address; `user:password@` is sent to this origin only.
        headers: Further request headers.
        bounds: The limits.
        deadline: That of the call. Defaults to None: it begins now.
        redirects: Whether to follow redirects. Defaults to True.

    Raises:
        Broken: No answer, for a reason that may pass.
        DownloadError: A redirect or certificate that is refused.
    """
    deadline = deadline or bounds.deadline()
    start = urlsplit(url)
    auth = (unquote(start.username or ""), unquote(start.password or "")) if start.username else None
    here = _bare(start)
    for _ in range(bounds.redirects + 1):
        timeout = deadline.left() / 2  # a try leaves as much for the next one
        is_same_origin = _origin(urlsplit(here)) == _origin(start)
        response = _ask(web, here, headers, auth if is_same_origin else None, min(bounds.connect, timeout), deadline)
        target = response.headers.get("Location")
        if not redirects or response.status_code not in _REDIRECTS or target is None:
            return Answer(response, here, timeout)
        response.close()
        target = target.encode("latin-1").decode("utf-8", "replace")  # http.client reads headers as Latin-1
        try:
            there = urlsplit(urljoin(here, target))
            down = (urlsplit(here).scheme, there.scheme) == ("https", "http")
            if there.scheme not in ("http", "https") or not there.hostname or down or _origin(there)[2] == 0:
                raise ValueError("not a web address" if not down else "unencrypted")
        except ValueError as error:
            raise bad_redirect(url, f"{error}: {display(target)[:200]!r}", "https (http only from http)") from error
        here = _bare(there)
    raise bad_redirect(url, f"more than {bounds.redirects} redirects, at last to {display(here)[:200]}", "an end")


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


def _ask(
    web: requests.Session,
    url: str,
    headers: dict[str, str],
    auth: tuple[str, str] | None,
    connect: float,
    deadline: Deadline,
) -> requests.Response:
    """One request, without redirects; the thread bounds what has no time-out: name look-up and slow headers."""
    left = deadline.left()
    if not left:
        raise Broken(f"no answer within {deadline.seconds:g} s")

    def ask() -> requests.Response:
        # requests lets REQUESTS_CA_BUNDLE win over `Session.verify`, but not over the argument
        options = {"stream": True, "allow_redirects": False, "verify": web.verify}
        return web.get(url, headers=headers, auth=auth, timeout=(connect, left / 2), **options)

    with wire_errors(url):
        return _within(min(left, deadline.seconds / 2), ask)


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
        raise TimeoutError(f"no answer within {round(seconds, 1):g} s") from None
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
