"""Serve the SavedModels below a directory over the hosting protocol of TF Hub."""

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from keras_hub_layers._src.publish.hub_app import Hub
from keras_hub_layers.errors import ResolveError


@contextmanager
def serve_in_thread(directory: str | os.PathLike[str], host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve a directory from a thread of this process.

    Args:
        directory: Every SavedModel below it is offered at its relative path.
        host: Address to listen on. Defaults to the loopback interface.
        port: Defaults to 0: a free one.

    Yields:
        The base URL, without a slash at the end.

    Example:

    ```python
    with serve_in_thread("models") as base:
        layer = layers.HubLayer(f"{base}/encoder")
    ```
    """
    hub = Hub(directory)
    try:
        server = _server(hub, host, port, _Quiet)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield _base_url(server)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
    finally:
        hub.close()


def serve(
    directory: str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    ready: Callable[[str], None] = lambda base: None,
) -> None:
    """Serve a directory until the process is interrupted.

    Args:
        directory: Every SavedModel below it is offered at its relative path.
        host: Address to listen on. Defaults to the loopback interface.
        port: Defaults to 8000; 0 means a free one.
        ready: Called with the base URL when the server listens.

    Raises:
        ResolveError: There is no such directory, or the address cannot be listened on.
    """
    hub = Hub(directory)
    try:
        server = _server(hub, host, port, WSGIRequestHandler if _shows_colours() else _Plain)
        ready(_base_url(server))
        with suppress(KeyboardInterrupt):
            server.serve_forever()
        server.server_close()
    finally:
        hub.close()


def _shows_colours() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("NO_COLOR")


class _Plain(WSGIRequestHandler):
    """Writes its line per request without colours."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        line = self.requestline.encode("unicode_escape").decode("ascii")
        self.log("info", '"%s" %s %s', line, getattr(code, "value", code), size)


class _Quiet(WSGIRequestHandler):
    """Says nothing about each request."""

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def _server(hub: Hub, host: str, port: int, handler: type[WSGIRequestHandler]) -> BaseWSGIServer:
    """A listening server; the socket is made here, because werkzeug ends the process when it cannot have it."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ResolveError(
            "The server cannot listen there.",
            expected="an address of this machine, and a port that is free",
            received=str(error),
            where=f"{host}:{port}",
            fix="let the system choose a port: keras-hub-layers serve DIRECTORY --port 0"
            if isinstance(error, OverflowError) or error.errno in (errno.EADDRINUSE, errno.EACCES)
            else "keras-hub-layers serve DIRECTORY --host 127.0.0.1   # or 0.0.0.0, for all of its addresses",
        ) from error
    with listening:
        return make_server(host, port, hub, threaded=True, request_handler=handler, fd=listening.fileno())


def _base_url(server: BaseWSGIServer) -> str:
    return f"http://{f'[{server.host}]' if ':' in server.host else server.host}:{server.port}"
