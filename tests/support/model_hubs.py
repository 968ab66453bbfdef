"""Two small servers that speak as much of Kaggle's and Hugging Face's protocols as their clients ask for."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

COMMIT = "c" * 40


class _Quiet(WSGIRequestHandler):
    def log(self, type, message, *args):
        pass


@contextmanager
def serving(application: Any, port: int = 0) -> Iterator[str]:
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Store:
    """The files of one model, what was asked for, and what was uploaded."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    notes: list[Any] = field(default_factory=list)


@dataclass
class HuggingFace(Store):
    """One public repository, `owner/repo`."""

    def __call__(self, environ, start_response):
        request = Request(environ)
        self.asked.append(f"{request.method} {request.path}")
        return self.answer(request)(environ, start_response)

    def answer(self, request: Request) -> Response:
        api, path = "/api/models/owner/repo", request.path
        if path == "/api/repos/create":
            self.notes.append(request.get_json())
            return _json({"url": f"{request.host_url}owner/repo", "name": "owner/repo"})
        if path.startswith(f"{api}/preupload/"):
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in request.get_json()["files"]
            ]
            return _json({"files": modes})
        if path.startswith(f"{api}/commit/"):
            for line in map(json.loads, request.get_data(as_text=True).splitlines()):
                if line["key"] == "file":
                    self.uploaded[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"{request.host_url}owner/repo/commit/{COMMIT}"
            return _json({"commitUrl": url, "commitOid": COMMIT, "success": True, "hookOutput": ""})
        if path.startswith(f"{api}/tree/"):
            return _json([{"type": "file", "path": n, "size": len(d), "oid": _oid(d)} for n, d in self.files.items()])
        if path == api or path.startswith(f"{api}/revision/"):
            siblings = [{"rfilename": name} for name in self.files]
            return _json({"id": "owner/repo", "sha": COMMIT, "siblings": siblings, "private": False})
        name = path.removeprefix(f"/owner/repo/resolve/{COMMIT}/")
        if name in self.files:
            headers = {"ETag": f'"{_oid(self.files[name])}"', "X-Repo-Commit": COMMIT}
            return Response(self.files[name], headers=headers, mimetype="application/octet-stream")
        headers = {"X-Error-Code": "EntryNotFound" if path.startswith("/owner/repo/") else "RepoNotFound"}
        return Response("{}", 404, headers=headers, mimetype="application/json")


@dataclass
class Kaggle(Store):
    """One model, `google/nnlm/tensorFlow2/en`, with version 3."""

    def __call__(self, environ, start_response):
        request = Request(environ)
        method = request.path.rsplit("/", 1)[-1]
        self.asked.append(method)
        return self.answer(request, method)(environ, start_response)

    def answer(self, request: Request, method: str) -> Response:
        if request.method == "PUT":
            self.uploaded[method] = request.get_data()
            return _json({})
        asked = request.get_json()
        if "Upload" in method:
            url = f"http://localhost:{request.environ['SERVER_PORT']}/upload/{asked['name']}"
            return _json({"token": asked["name"], "createUrl": url})
        if asked.get("ownerSlug") != "google":
            return _json({"code": 404, "message": "Not found"}, 404)
        if method == "GetModelInstance":
            return _json({"versionNumber": 3})
        if method == "ListModelInstanceVersionFiles":
            return _json({"files": [{"name": name, "size": len(data)} for name, data in self.files.items()]})
        if method == "DownloadModelInstanceVersion":
            return Response(self.files[asked["path"]], mimetype="application/octet-stream")
        self.notes.append(asked)
        return _json({"id": 1})


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status, mimetype="application/json")


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
