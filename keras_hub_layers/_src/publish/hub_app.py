"""The WSGI application behind `serve`: pages, archives and redirects of TF Hub's hosting protocol."""

import hashlib
import html
import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from werkzeug import exceptions
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.security import safe_join
from werkzeug.utils import redirect, send_file
from werkzeug.wrappers import Request, Response

from keras_hub_layers._src.files.layout import is_saved_model, saved_models_below
from keras_hub_layers._src.publish.pack import pack
from keras_hub_layers._src.resolve.handles import ARCHIVE_SUFFIXES
from keras_hub_layers.errors import ExportError, HandleNotFoundError

_YEAR = 365 * 24 * 3600  # seconds


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}}
pre{{background:#f4f4f4;padding:1rem;overflow-x:auto}}</style><h1>{title}</h1>{body}</html>"""


class Hub:
    """The WSGI application: what is asked for becomes a page, an archive or a redirect.

    Args:
        directory: Every SavedModel below it is offered at its relative path, and every archive as it is.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        self.root = os.path.realpath(os.fspath(directory))
        if not os.path.isdir(self.root):
            raise HandleNotFoundError(
                "There is no directory to serve.",
                expected="a directory with SavedModels at any depth",
                received="no such directory",
                where=self.root,
                fix="keras-hub-layers serve DIRECTORY",
            )
        self._packed = tempfile.TemporaryDirectory(prefix="keras_hub_layers_serve_")
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def close(self) -> None:
        """Delete the archives that were packed."""
        self._packed.cleanup()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        try:
            response = self._answer(request)
        except HTTPException as error:
            response = error.get_response(environ)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response(environ, start_response)

    def _answer(self, request: Request) -> Any:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(["GET", "HEAD"])
        path = self._inside(request.path.strip("/"))
        wanted = request.args.get("tf-hub-format")
        if os.path.isfile(path) and path.lower().endswith(ARCHIVE_SUFFIXES):
            return self._file(request, path, os.path.basename(path))
        if not os.path.isdir(path):
            raise NotFound(f"There is no model at {request.path}.")
        if is_saved_model(path):
            if wanted == "uncompressed":
                raise exceptions.NotImplemented("This hub sends archives only: ask for ?tf-hub-format=compressed.")
            return self._archive(request, path) if wanted == "compressed" else self._model_page(request, path)
        versions = [name for name in os.listdir(path) if name.isdecimal() and is_saved_model(os.path.join(path, name))]
        if versions:
            query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
            return redirect(f"/{quote(self._relative(os.path.join(path, max(versions, key=int))))}{query}", 302)
        if wanted:
            raise NotFound(f"There is no model at {request.path}.")
        return self._list_page(request, path)

    def _inside(self, relative: str) -> str:
        """The real path of what is asked for, which is neither hidden nor outside of the root."""
        joined = safe_join(self.root, *[segment for segment in relative.split("/") if segment])
        real = os.path.realpath(joined) if joined and "\0" not in joined else ""
        if not real or os.path.commonpath([self.root, real]) != self.root or "/." in f"/{self._relative(real)}":
            raise NotFound()
        return real

    def _relative(self, path: str) -> str:
        relative = os.path.relpath(path, self.root).replace(os.sep, "/")
        return "" if relative == "." else relative

    def _archive(self, request: Request, path: str) -> Response:
        """The model as one archive, packed once for each state of its files."""
        state = self._state(path)
        archive = os.path.join(self._packed.name, f"{state}.tar.gz")
        with self._guard:
            lock = self._locks.setdefault(state, threading.Lock())
        with lock:
            if not os.path.exists(archive):
                try:
                    pack(path, archive)
                except ExportError as error:
                    raise NotFound(f"The model at {request.path} cannot be packed.") from error
                if self._state(path) != state:  # somebody is writing there
                    os.unlink(archive)
                    raise NotFound(f"The model at {request.path} is being replaced; ask again.")
        response = self._file(request, archive, f"{os.path.basename(path) or 'model'}.tar.gz")
        response.headers["Content-Type"] = "application/gzip"
        if os.path.basename(path).isdecimal() and path != self.root:
            response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
        return response

    def _file(self, request: Request, path: str, name: str) -> Response:
        status = os.stat(path)
        tag = os.path.basename(path) if path.startswith(self._packed.name) else f"{status.st_mtime_ns}-{status.st_size}"
        return send_file(path, request.environ, mimetype="application/octet-stream", download_name=name,
                         as_attachment=True, conditional=True, etag=tag.removesuffix(".tar.gz"))  # fmt: skip

    def _state(self, path: str) -> str:
        """Names, sizes and dates of a model's files in one word; no file may lead out of the root."""
        lines = []
        for folder, _, names in os.walk(path):
            for name in names:
                file = os.path.join(folder, name)
                if os.path.commonpath([self.root, os.path.realpath(file)]) != self.root:
                    raise NotFound("The model holds a link that leads out of the served directory.")
                status = os.stat(file)
                lines.append(f"{os.path.relpath(file, path)}\0{status.st_size}\0{status.st_mtime_ns}")
        return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()[:40]

    def _model_page(self, request: Request, path: str) -> Response:
        handle = request.base_url.rstrip("/")
        size = sum(os.path.getsize(os.path.join(f, n)) for f, _, names in os.walk(path) for n in names)
        code = f"from keras_hub_layers import layers\n\nlayer = layers.HubLayer({handle!r})"
        curl = f"curl -L -o model.tar.gz '{handle}?tf-hub-format=compressed'"
        card = html.escape(self._card(path))
        body = (
            f"<p>A SavedModel of {size / 1e6:.1f} MB.</p><pre>{html.escape(code)}</pre><pre>{html.escape(curl)}</pre>"
            + (f"<pre>{card}</pre>" if card else "")
        )
        return _page(self._relative(path) or os.path.basename(path), body)

    def _card(self, path: str) -> str:
        """What the model says about itself, if it has a README.md that lies within the root."""
        card = os.path.realpath(os.path.join(path, "README.md"))
        if os.path.commonpath([self.root, card]) != self.root or not os.path.isfile(card):
            return ""
        with open(card, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)

    def _list_page(self, request: Request, path: str) -> Response:
        items = "".join(
            f'<li><a href="/{quote(self._relative(model))}">{html.escape(self._relative(model))}</a></li>'
            for model in saved_models_below(path, hidden=False)
        )
        body = f"<ul>{items}</ul>" if items else "<p>There are no SavedModels here.</p>"
        return _page(f"Models at {request.base_url}", body)


def _page(title: str, body: str) -> Response:
    return Response(_PAGE.format(title=html.escape(title), body=body), mimetype="text/html")
