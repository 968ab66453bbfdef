"""One URL into one file: retries, resume, limits, checksum, progress.

Every byte is counted, and what arrives is refused as soon as it cannot be what was asked for.
"""

import hashlib
import os
import queue
import re
import shutil
import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import BinaryIO

import requests

from keras_hub_layers._src.files.deadline import Deadline
from keras_hub_layers._src.resolve.checksums import check_pin
from keras_hub_layers._src.resolve.handles import display
from keras_hub_layers._src.resolve.http.bounds import Bounds
from keras_hub_layers._src.resolve.http.refusals import refusal, retry_after
from keras_hub_layers._src.resolve.http.request import Answer, Broken, get, retry, wire_errors
from keras_hub_layers._src.resolve.http.session import session
from keras_hub_layers._src.text.progress import Advance, progress
from keras_hub_layers.errors import DownloadError, add_place

_CHUNK = 1 << 18  # bytes


_SHOW_AFTER = 0.3  # seconds: a file that is here at once needs no bar


_ARCHIVE_STARTS = (b"\x1f\x8b", b"PK")


_PAGE_TYPES = ("text/", "application/json", "application/xhtml", "application/xml")


@dataclass(frozen=True)
class Download:
    """What arrived: the SHA-256 and size (bytes) of the file, and the URL that answered in the end."""

    sha256: str
    size: int
    url: str


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    bounds: Bounds | None = None,
    deadline: Deadline | None = None,
) -> Download:
    """Fetch a URL into a file.

    A broken transfer is resumed where it stopped if the server's `ETag` or `Last-Modified` proves that the
    rest belongs to the same bytes; otherwise it starts again.

    Args:
        url: The http:// or https:// address; `user:password@` is sent to this origin only.
        path: The file to write. After a failure nothing is left there.
        sha256: Hexadecimal SHA-256 that the bytes must have. Defaults to None: any.
        bounds: The limits. Defaults to `Bounds.from_environment()`.
        deadline: That of the call. Defaults to None: it begins now.

    Returns:
        A `Download`.

    Raises:
        HandleNotFoundError: The server says that there is nothing.
        DownloadError: The transfer failed, was refusal, or took too long.
        ChecksumError: The bytes are not those of `sha256`.
        OSError: The file cannot be written.
    """
    bounds = bounds or Bounds.from_environment()
    transfer = _Transfer(url, bounds, deadline or bounds.deadline())
    try:
        with (
            closing(transfer),
            open(path, "wb") as file,
            session() as web,
            progress(_title(url), "B", after=_SHOW_AFTER, keep=True) as advance,
        ):
            transfer.run(web, file, advance)
            done = Download(transfer.digest.finish(), transfer.received, transfer.final_url)
        with add_place(display(url)):
            check_pin(sha256, done.sha256)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    return done


class _Transfer:
    """One file on its way: what has arrived, and what proves that the rest belongs to it."""

    def __init__(self, url: str, bounds: Bounds, deadline: Deadline):
        self.url, self.bounds, self.deadline = url, bounds, deadline
        self.final_url = url
        self.digest = _Digest()
        self.restart()

    def close(self) -> None:
        """End what runs beside the transfer."""
        self.digest.finish()

    def restart(self) -> None:
        """Forget what has arrived."""
        self.close()
        self.received = 0
        self.total: int | None = None
        self.validator: str | None = None
        self.digest = _Digest()

    def run(self, web: requests.Session, file: BinaryIO, advance: Advance) -> None:
        """Try until the file is whole, or the attempts or the time without progress are used up."""
        retry(lambda: self._attempt(web, file, advance), self.bounds, self.deadline, self._failed_error)

    def _attempt(self, web: requests.Session, file: BinaryIO, advance: Advance) -> None:
        """Ask once, from where the last attempt stopped."""
        if not self.validator:
            self.restart()
        headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
        if self.received:
            headers |= {"Range": f"bytes={self.received}-", "If-Range": str(self.validator)}
        answer = get(web, self.url, headers, self.bounds, self.deadline)
        self.final_url = answer.url
        with answer.response as response:
            self._check_status(response)
            if response.status_code == 200:
                self.restart()
                self._begin(response, file)
            file.seek(self.received)
            file.truncate()
            self._read_body(answer, file, advance)

    def _check_status(self, response: requests.Response) -> None:
        """Only a whole body, or exactly the part that was asked for, may come."""
        status = response.status_code
        if status in (408, 429) or status >= 500:
            raise Broken(f"HTTP {status} {response.reason}", retry_after(response))
        if status == 416 and self.received:
            self.restart()
            raise Broken("HTTP 416: the server no longer has the part that is missing", wait=0)
        if status == 206 and self.received:
            answer = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.strip())
            tag = response.headers.get("ETag")
            moved = tag is not None and str(self.validator).startswith('"') and tag != self.validator
            grown = match and self.total and match[3] not in ("*", str(self.total))
            if not match or int(match[1]) != self.received or moved or grown:
                self.restart()
                raise Broken(f"the server answered with another part than the one asked for ({answer!r})", wait=0)
        elif status != 200:
            raise refusal(self.url, self.final_url, response)

    def _begin(self, response: requests.Response, file: BinaryIO) -> None:
        """Note what the headers announce, and refuse what cannot fit."""
        length = response.headers.get("Content-Length", "")
        chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
        self.total = int(length) if re.fullmatch(r"[0-9]{1,18}", length) and not chunked else None
        etag = response.headers.get("ETag", "")
        self.validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        if self.total is None:
            return
        self._check_size(self.total)
        free = shutil.disk_usage(os.path.dirname(os.path.abspath(file.name))).free
        if self.total > free:
            raise DownloadError(
                "The disk has no room for the archive.",
                expected=f"{self.total} bytes free",
                received=f"{free} bytes free",
                where=f"{os.path.dirname(file.name)}, for {display(self.url)}",
                fix="free some space, or choose another disk: export TFHUB_CACHE_DIR=/large/disk/tfhub",
            )

    def _read_body(self, answer: Answer, file: BinaryIO, advance: Advance) -> None:
        """Write what arrives; what goes wrong on the wire is a `Broken`, on the disk an OSError."""
        response, mark = answer.response, self.received
        while True:
            if self.deadline.left() < answer.timeout:
                raise Broken(f"only {self.received - mark} bytes in the last {self.deadline.seconds / 2:g} s")
            with wire_errors(self.final_url):
                piece = response.raw.read1(_CHUNK)
            if not piece:
                break
            if self.received == 0 and _is_page(response, piece):
                raise refusal(self.url, self.final_url, response, piece)
            file.write(piece)
            self.digest.update(piece)
            self.received += len(piece)
            self._check_size(self.received)
            advance(self.received, self.total)
            if self.received - mark >= self.deadline.step:
                self.deadline.extend()
                mark = self.received
        if self.total is not None and self.received != self.total:
            raise Broken(f"the connection closed after {self.received} of {self.total} bytes")
        if self.received == 0:
            raise refusal(self.url, self.final_url, response, b"nothing: the body is empty")

    def _check_size(self, size: int) -> None:
        if self.total is not None and size > self.total:
            raise DownloadError(
                "The server sends more than it announced.",
                expected=f"{self.total} bytes",
                received=f"{size} bytes or more",
                where=display(self.url),
                fix=f"look at what it sends:\ncurl -sIL {display(self.url)!r}",
            )
        if size > self.bounds.max_bytes:
            raise DownloadError(
                "The archive is larger than allowed.",
                expected=f"at most {self.bounds.max_bytes} bytes",
                received=f"{size} bytes or more",
                where=display(self.url),
                fix=f"if you trust the publisher: export KERAS_HUB_LAYERS_MAX_BYTES={2 * size}",
            )

    def _failed_error(self, reason: str) -> DownloadError:
        return DownloadError(
            "The download failed.",
            expected="the archive of a SavedModel",
            received=f"{reason}; {self.received} bytes had arrived)",
            where=display(self.url),
            fix="check the address, the network and the proxy settings, then try again:\n"
            f"curl -L -o model.tar.gz {display(self.url)!r}",
        )


class _Digest:
    """SHA-256 in a thread beside the transfer: hashlib lets others run, so it costs no time where a core is free."""

    def __init__(self):
        self._sha256 = hashlib.sha256()
        self._pieces: queue.Queue[bytes | None] = queue.Queue(16)
        self._thread = threading.Thread(target=self._work, daemon=True, name="keras-hub-layers sha256")
        self._thread.start()

    def _work(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._sha256.update(piece)

    def update(self, piece: bytes) -> None:
        self._pieces.put(piece)

    def finish(self) -> str:
        """The checksum of all pieces, hexadecimal; ends the thread."""
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()
        return self._sha256.hexdigest()


def _is_page(response: requests.Response, start: bytes) -> bool:
    """Whether a web page or message came instead of an archive."""
    kind = response.headers.get("Content-Type", "").strip().lower()
    return kind.startswith(_PAGE_TYPES) and not start.startswith(_ARCHIVE_STARTS) and start[257:262] != b"ustar"


def _title(url: str) -> str:
    """A URL without what says nothing to a reader: the scheme, and the signatures in a query."""
    return re.sub(r"^https?://", "", display(url)).partition("?")[0]
