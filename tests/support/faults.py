"""A loopback server that does what servers should not: the fault is chosen by the path of the URL.

It speaks HTTP byte by byte, so that it can lie about anything. `<base>/<fault>/<argument>`; the table of faults is
`FAULTS`. Nothing sleeps: a fault that stalls waits until the server is closed.
"""

import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

ETAG = '"one"'


@dataclass
class Asked:
    """One request, as the server saw it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    number: int = 0  # how many requests for this path came before


@dataclass
class FaultyServer:
    """A context manager: `with FaultyServer(payload) as server: server.base`."""

    payload: bytes
    tls: ssl.SSLContext | None = None
    elsewhere: str = ""  # where `redirect-elsewhere` leads
    asked: list[Asked] = field(default_factory=list)
    seen: Counter = field(default_factory=Counter)
    closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "FaultyServer":
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"{'https' if self.tls else 'http'}://localhost:{self.listener.getsockname()[1]}"
        self.base = self.base if self.tls else self.base.replace("localhost", "127.0.0.1")
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(65536)
                    if not piece:  # the client is gone
                        return
                    head += piece
                asked = _parse(head.decode("latin-1"))
                asked.number = self.seen[asked.path]
                self.seen[asked.path] += 1
                self.asked.append(asked)
                path = urlsplit(asked.path).path  # a proxy is asked for whole URLs
                fault, _, argument = path.strip("/").partition("/")
                FAULTS[fault.removesuffix(".tar.gz")](self, connection, asked, argument.removesuffix(".tar.gz"))


def _parse(head: str) -> Asked:
    first, *lines = head.split("\r\n\r\n", 1)[0].split("\r\n")
    method, target, _ = first.split(" ", 2)
    path, _, query = target.partition("?")
    return Asked(
        method, unquote(path), query, {k.strip().lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
    )


def send(connection: socket.socket, status: str, body: bytes = b"", **headers: Any) -> None:
    """An answer; `Content_Length=None` leaves that header out."""
    fields = {"Content_Length": len(body), "Content_Type": "application/gzip", "Connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value is not None]
    connection.sendall(f"HTTP/1.1 {status}\r\n".encode())
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def rest(server: FaultyServer, connection: socket.socket, asked: Asked, etag: str | None = ETAG) -> bool:
    """Answer a proper range request properly; False when this is not one."""
    wanted = asked.headers.get("range", "")
    if not wanted or asked.headers.get("if-range") != etag:
        return False
    start, total = int(wanted.removeprefix("bytes=").rstrip("-")), len(server.payload)
    send(connection, "206 Partial Content", server.payload[start:], ETag=etag,
         Content_Range=f"bytes {start}-{total - 1}/{total}")  # fmt: skip
    return True


FAULTS: dict[str, Callable[[FaultyServer, socket.socket, Asked, str], None]] = {}


def fault(function: Callable[[FaultyServer, socket.socket, Asked, str], None]) -> Callable[..., None]:
    FAULTS[function.__name__.replace("_", "-")] = function
    return function


@fault
def ok(server, connection, asked, argument):
    send(connection, "200 OK", server.payload, ETag=ETAG)


@fault
def status(server, connection, asked, argument):
    """status/<code>[/<Retry-After>]: always this status."""
    code, _, wait = argument.partition("/")
    send(connection, f"{code} Nope", b"go away", Content_Type="text/plain", Retry_After=wait or None)


@fault
def models(server, connection, asked, argument):
    """A page of a site that wants a login."""
    send(connection, "403 Forbidden", b"<html>Sign in", Content_Type="text/html")


@fault
def api(server, connection, asked, argument):
    """That site's address for programs: the payload, if there is one."""
    send(connection, "200 OK" if server.payload else "404 Not Found", server.payload)


@fault
def flaky(server, connection, asked, argument):
    """flaky/<code>/<times>[/<Retry-After>]: this status so many times, then the payload."""
    code, times, *wait = argument.split("/")
    if asked.number < int(times):
        send(connection, f"{code} Nope", Retry_After=wait[0] if wait else None)
    else:
        ok(server, connection, asked, argument)


@fault
def redirect(server, connection, asked, argument):
    """redirect/<n>: so many redirects, then the payload; each with a body that nobody should read."""
    target = f"/redirect/{int(argument) - 1}" if int(argument) > 1 else "/ok"
    send(connection, "302 Found", b"x" * 100, Location=target, Content_Length=1 << 40)


@fault
def redirect_loop(server, connection, asked, argument):
    send(connection, "302 Found", Location=asked.path)


@fault
def redirect_elsewhere(server, connection, asked, argument):
    """redirect-elsewhere/<code>: to `server.elsewhere`."""
    send(connection, f"{argument or 302} Found", Location=server.elsewhere)


@fault
def private(server, connection, asked, argument):
    """Wants credentials, then leads elsewhere if there is such a place."""
    if "authorization" not in asked.headers:
        send(connection, "401 Unauthorized", WWW_Authenticate='Basic realm="x"')
    elif server.elsewhere:
        redirect_elsewhere(server, connection, asked, "302")
    else:
        ok(server, connection, asked, argument)


@fault
def truncated(server, connection, asked, argument):
    """truncated/<how>: the first answer stops half way; how the rest comes is what differs."""
    half = len(server.payload) // 2
    etag = {"no-etag": None, "weak": 'W/"one"'}.get(argument, ETAG)
    if not asked.headers.get("range") and (asked.number == 0 or argument == "always"):
        return send(connection, "200 OK", server.payload[:half], ETag=etag, Content_Length=len(server.payload))
    total = len(server.payload)
    answers = {
        "wrong-start": ("206 Partial", server.payload[1:], f"bytes 1-{total - 1}/{total}", ETAG),
        "wrong-total": ("206 Partial", bytes(total - half), f"bytes {half}-{total - 1}/{total + 1}", ETAG),
        "wrong-etag": ("206 Partial", bytes(total - half), f"bytes {half}-{total - 1}/{total}", '"two"'),
        "no-content-range": ("206 Partial", server.payload[half:], None, ETAG),
        "garbage-range": ("206 Partial", server.payload[half:], "bytes half-way", ETAG),
        "gone-416": ("416 Range Not Satisfiable", b"", f"bytes */{total}", ETAG),
    }
    if argument in answers and asked.headers.get("range"):
        code, body, content_range, etag = answers[argument]
        return send(connection, code, body, Content_Range=content_range, ETag=etag)
    if argument == "always":
        start = int(asked.headers["range"].removeprefix("bytes=").rstrip("-"))
        return send(connection, "206 Partial", server.payload[start : start + 10], ETag=ETAG,
                    Content_Length=total - start, Content_Range=f"bytes {start}-{total - 1}/{total}")  # fmt: skip
    if argument == "shrunk":
        return send(connection, "200 OK", server.payload[:10], ETag='"two"')
    if argument == "changed" or not rest(server, connection, asked):
        send(connection, "200 OK", server.payload, ETag='"two"')
    return None


@fault
def damaged(server, connection, asked, argument):
    """damaged/<times>: so many times with one bit changed in the middle, then the payload."""
    middle = len(server.payload) // 2
    changed = server.payload[:middle] + bytes([server.payload[middle] ^ 1]) + server.payload[middle + 1 :]
    send(connection, "200 OK", changed if asked.number < int(argument) else server.payload)


@fault
def longer(server, connection, asked, argument):
    """Half of the payload; then, asked for the rest, more and more."""
    half, total = len(server.payload) // 2, len(server.payload)
    if not asked.headers.get("range"):
        return send(connection, "200 OK", server.payload[:half], ETag=ETAG, Content_Length=total)
    send(connection, "206 Partial", ETag=ETAG, Content_Length=None,
         Content_Range=f"bytes {half}-{total - 1}/{total}")  # fmt: skip
    while not server.closing.is_set():
        connection.sendall(server.payload)
    return None


@fault
def unasked_206(server, connection, asked, argument):
    total = len(server.payload)
    send(connection, "206 Partial", server.payload[:9], Content_Range=f"bytes 0-8/{total}", ETag=ETAG)


@fault
def lying_length(server, connection, asked, argument):
    """lying-length/<n>: announces the payload's length plus n; no validator, so that nothing can be resumed."""
    send(connection, "200 OK", server.payload, Content_Length=len(server.payload) + int(argument))


@fault
def odd_length(server, connection, asked, argument):
    """odd-length/<text>: this text as Content-Length, and the end of the connection as the only end."""
    send(connection, "200 OK", server.payload, Content_Length=argument)


@fault
def no_length(server, connection, asked, argument):
    send(connection, "200 OK", server.payload, Content_Length=None)


@fault
def chunked(server, connection, asked, argument):
    """chunked[/cut]: in chunks; cut: without the last ones. The Content-Length beside it is a lie."""
    send(connection, "200 OK", Transfer_Encoding="chunked", Content_Length=7)
    middle = len(server.payload) // 2
    for piece in (server.payload[:middle], server.payload[middle:]):
        connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if argument == "cut":
            return
    connection.sendall(b"0\r\n\r\n")


@fault
def encoded(server, connection, asked, argument):
    """Calls the archive's own compression a transfer encoding, as misconfigured servers do."""
    send(connection, "200 OK", server.payload, Content_Encoding="gzip", Content_Type="application/x-tar")


@fault
def html(server, connection, asked, argument):
    body = b"<!doctype html><title>Sign in</title>" + b" " * 1000
    send(connection, "200 OK", body, Content_Type=argument or "text/html; charset=utf-8")


@fault
def typed(server, connection, asked, argument):
    """typed/<type>: the payload under another name."""
    send(connection, "200 OK", server.payload, Content_Type=argument)


@fault
def empty(server, connection, asked, argument):
    send(connection, "200 OK")


@fault
def stall(server, connection, asked, argument):
    """stall/<where>: silence before the headers, within them, or within the body."""
    if argument == "headers":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
    elif argument == "body":
        send(connection, "200 OK", server.payload[:100], Content_Length=len(server.payload))
    server.closing.wait()


@fault
def trickle(server, connection, asked, argument):
    """trickle/<where>: a byte now and then, for ever."""
    if argument == "body":
        send(connection, "200 OK", Content_Length=1 << 30)
    else:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not server.closing.wait(0.01):
        connection.sendall(b"x")


@fault
def headers(server, connection, asked, argument):
    """headers/<kind>: more of them than anybody needs."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    if argument == "huge":
        connection.sendall(b"X-Huge: " + b"x" * (1 << 20) + b"\r\n\r\n")
    elif argument == "many":
        connection.sendall(b"".join(b"X-%d: y\r\n" % i for i in range(1000)) + b"\r\n")
    elif argument == "endless":
        while not server.closing.is_set():
            connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")


@fault
def continues(server, connection, asked, argument):
    """Says "100 Continue" for ever."""
    while not server.closing.is_set():
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@fault
def garbage(server, connection, asked, argument):
    connection.sendall(b"\x00\x01\x02 SSH-2.0-nothing\r\n\r\n")


@fault
def closed(server, connection, asked, argument):
    """Closes the connection without a word."""


@fault
def endless(server, connection, asked, argument):
    """A body without an end, without a length."""
    send(connection, "200 OK", Content_Length=None)
    while not server.closing.is_set():
        connection.sendall(server.payload)


@fault
def announced(server, connection, asked, argument):
    """announced/<bytes>: only the length is large."""
    send(connection, "200 OK", server.payload, Content_Length=argument)


@fault
def location(server, connection, asked, argument):
    """location?<URL>: leads to this very text."""
    send(connection, "302 Found", Location=asked.query)


@fault
def see_other(server, connection, asked, argument):
    """The uncompressed protocol: 303, and the place in the body."""
    code, _, place = argument.partition("/")
    send(connection, f"{code} See Other", place.encode(), Content_Type="text/plain",
         Location=place)  # fmt: skip
