"""The errors for answers that are not what was asked for: they show what came instead."""

import re
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests

from keras_hub_layers._src.resolve.handles import display
from keras_hub_layers.errors import DownloadError, HandleNotFoundError

_ARCHIVE = "HTTP 200 and a .tar.gz, .tar or .zip archive"


def refusal(
    url: str, at: str, response: requests.Response, start: bytes = b"", expected: str = _ARCHIVE
) -> DownloadError | HandleNotFoundError:
    """The error for an answer that is not what was expected: it shows what came instead."""
    status = response.status_code
    if not start:
        with suppress(Exception):  # what it says besides is not worth another error
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


def bad_redirect(url: str, received: str, expected: str) -> DownloadError:
    return DownloadError(
        "The server redirects to where this download does not follow.",
        expected=expected,
        received=received,
        where=display(url),
        fix=f"look where it leads, and use that address if you trust it:\ncurl -sIL {display(url)!r}",
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
