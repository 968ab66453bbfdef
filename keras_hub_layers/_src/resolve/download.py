"""One URL into one file: retries, resume, limits, checksum, progress.

Every byte is counted, and what arrives is refused as soon as it cannot be what was asked for.
"""

import hashlib
import os
import queue
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import requests

from keras_hub_layers._src.resolve import environment, http
from keras_hub_layers._src.resolve.handles import display
from keras_hub_layers._src.resolve.http import Bounds, Broken
from keras_hub_layers.errors import ChecksumError, DownloadError

_CHUNK = 1 << 18  # bytes


_ARCHIVE_STARTS = (b"\x1f\x8b", b"PK")


_PAGE_TYPES = ("text/", "application/json", "application/xhtml", "application/xml")


Advance = Callable[[int, int | None], None]


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
    progress: bool | None = None,
) -> Download:
    """Fetch a URL into a file.

    A broken transfer is resumed where it stopped if the server's `ETag` or `Last-Modified` proves that the
    rest belongs to the same bytes; otherwise it starts again.

    Args:
        url: The http:// or https:// address; `user:password@` is sent to this origin only.
        path: The file to write. After a failure nothing is left there.
        sha256: Hexadecimal SHA-256 that the bytes must have. Defaults to None: any.
        bounds: The limits. Defaults to `Bounds.from_environment()`.
        progress: Whether to show a progress bar on stderr. Defaults to None: on a terminal, or when
            `TFHUB_DOWNLOAD_PROGRESS` is set.

    Returns:
        A `Download`.

    Raises:
        HandleNotFoundError: The server says that there is nothing.
        DownloadError: The transfer failed, was refused, or took too long.
        ChecksumError: The bytes are not those of `sha256`.
        OSError: The file cannot be written.
    """
    transfer = _Transfer(url, bounds or Bounds.from_environment())
    try:
        with (
            closing(transfer),
            open(path, "wb") as file,
            http.session() as session,
            _meter(display(url), progress) as advance,
        ):
            transfer.run(session, file, advance)
            done = Download(transfer.digest.finish(), transfer.received, transfer.final_url)
        if sha256 and done.sha256 != sha256.lower():
            raise ChecksumError(
                "The archive that arrived is not the one that was pinned.",
                expected=f"SHA-256 {sha256.lower()}",
                received=f"SHA-256 {done.sha256} ({done.size} bytes)",
                where=display(url),
                fix=f"if the publisher replaced the archive on purpose, pin the new one: sha256={done.sha256!r}",
            )
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    return done


class _Transfer:
    """One file on its way: what has arrived, and what proves that the rest belongs to it."""

    def __init__(self, url: str, bounds: Bounds):
        self.url, self.bounds = url, bounds
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

    def run(self, session: requests.Session, file: BinaryIO, advance: Advance) -> None:
        """Try until the file is whole, or the attempts are used up."""
        for attempt in range(1, self.bounds.attempts + 1):
            try:
                self._attempt(session, file, advance)
                return
            except Broken as broken:
                wait = self.bounds.backoff * 2 ** (attempt - 1) if broken.wait is None else broken.wait
                if attempt == self.bounds.attempts or wait > self.bounds.longest_wait:
                    raise self._failed(broken, attempt, wait) from (broken.__cause__ or broken)
            if not self.validator:
                self.restart()
            time.sleep(wait)

    def _attempt(self, session: requests.Session, file: BinaryIO, advance: Advance) -> None:
        """Ask once, from where the last attempt stopped."""
        headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
        if self.received:
            headers |= {"Range": f"bytes={self.received}-", "If-Range": str(self.validator)}
        response, self.final_url = http.get(session, self.url, headers, self.bounds)
        with response:
            self._check_status(response)
            if response.status_code == 200:
                self.restart()
                self._begin(response, file)
            file.seek(self.received)
            file.truncate()
            self._read_body(response, file, advance)

    def _check_status(self, response: requests.Response) -> None:
        """Only a whole body, or exactly the part that was asked for, may come."""
        status = response.status_code
        if status in (408, 429) or status >= 500:
            raise Broken(f"HTTP {status} {response.reason}", http.retry_after(response))
        if status == 416 and self.received:
            self.restart()
            raise Broken("HTTP 416: the server no longer has the part that is missing", wait=0)
        if status == 206 and self.received:
            answer = response.headers.get("Content-Range", "")
            found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.strip())
            tag = response.headers.get("ETag")
            moved = tag is not None and str(self.validator).startswith('"') and tag != self.validator
            grown = found and self.total and found[3] not in ("*", str(self.total))
            if not found or int(found[1]) != self.received or moved or grown:
                self.restart()
                raise Broken(f"the server answered with another part than the one asked for ({answer!r})", wait=0)
        elif status != 200:
            raise http.refused(self.url, self.final_url, response)

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

    def _read_body(self, response: requests.Response, file: BinaryIO, advance: Advance) -> None:
        """Write what arrives; what goes wrong on the wire is a `Broken`, on the disk an OSError."""
        window, mark = time.monotonic(), self.received
        while True:
            with http.wire_errors(self.final_url):
                piece = response.raw.read1(_CHUNK)
            if not piece:
                break
            if self.received == 0 and _is_page(response, piece):
                raise http.refused(self.url, self.final_url, response, piece)
            file.write(piece)
            self.digest.update(piece)
            self.received += len(piece)
            self._check_size(self.received)
            advance(self.received, self.total)
            now = time.monotonic()
            if now - window >= self.bounds.silence:
                if self.received - mark < self.bounds.min_speed * (now - window):
                    raise Broken(f"only {self.received - mark} bytes in {now - window:.0f} s")
                window, mark = now, self.received
        if self.total is not None and self.received != self.total:
            raise Broken(f"the connection closed after {self.received} of {self.total} bytes")
        if self.received == 0:
            raise http.refused(self.url, self.final_url, response, b"nothing: the body is empty")

    def _check_size(self, size: int) -> None:
        if size > self.bounds.max_bytes:
            raise DownloadError(
                "The archive is larger than allowed.",
                expected=f"at most {self.bounds.max_bytes} bytes",
                received=f"{size} bytes or more",
                where=display(self.url),
                fix=f"if you trust the publisher: export KERAS_HUB_LAYERS_MAX_BYTES={2 * size}",
            )

    def _failed(self, broken: Broken, attempt: int, wait: float) -> DownloadError:
        received = f"{broken} (attempt {attempt}; {self.received} bytes had arrived)"
        if wait > self.bounds.longest_wait:
            received += f"; the server asks to wait {wait:.0f} s"
        return DownloadError(
            "The download failed.",
            expected="the archive of a SavedModel",
            received=received,
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


@contextmanager
def _meter(title: str, wanted: bool | None) -> Iterator[Advance]:
    """A progress bar on stderr, or nothing."""
    if wanted is None:
        wanted = environment.progress() or sys.stderr.isatty()
    if not wanted:
        yield lambda received, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda received, total: bar.update(task, completed=received, total=total)
