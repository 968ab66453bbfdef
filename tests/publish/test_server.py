"""The small hub speaks the hosting protocol to every client, and shows nothing but the models below its directory."""

import hashlib
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
from hostile import FILES, files, write

from keras_hub_layers import pack, resolve
from keras_hub_layers._src.publish import server
from keras_hub_layers._src.publish.server import serve, serve_in_thread
from keras_hub_layers.errors import HandleNotFoundError, ResolveError

COMPRESSED = "?tf-hub-format=compressed"


@pytest.fixture
def root(tmp_path):
    """Two models, one of them in versions, an archive, and things that nobody is to see."""
    root = tmp_path / "root"
    write(root / "encoder")
    for version in ("1", "2", "10"):
        write(root / "team" / "decoder" / version, {**FILES, "assets/version": version.encode()})
    write(root / ".hidden" / "model")
    (root / "notes.txt").write_text("secret")
    (tmp_path / "secret").write_text("secret")
    pack(root / "encoder", root / "packed.tar.gz")
    return root


@pytest.fixture
def base(root):
    with serve_in_thread(root) as base:
        yield base


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


def ask(url, method="GET", **headers):
    """Status, headers and body, whatever they are; redirects are not followed."""
    request = urllib.request.Request(url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({})).open(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_a_model_is_resolved_by_its_relative_path(base):
    assert files(resolve(f"{base}/encoder")) == FILES
    assert files(resolve(f"{base}/team/decoder/2"))["assets/version"] == b"2"


def test_an_archive_is_offered_as_it_is(base, root):
    status, headers, body = ask(f"{base}/packed.tar.gz")
    assert (status, body) == (200, (root / "packed.tar.gz").read_bytes())
    assert "Content-Encoding" not in headers
    assert files(resolve(f"{base}/packed.tar.gz")) == FILES


def test_what_is_sent_is_what_pack_makes(base, root):
    status, headers, body = ask(f"{base}/encoder{COMPRESSED}")
    assert (status, headers["Content-Type"]) == (200, "application/gzip")
    assert body == (root / "packed.tar.gz").read_bytes()


def test_curl_loads_from_it(base, tmp_path):
    subprocess.run(["curl", "-sfL", "-o", tmp_path / "m.tar.gz", f"{base}/encoder{COMPRESSED}"], check=True)
    assert files(resolve(tmp_path / "m.tar.gz")) == FILES


def test_a_path_without_its_version_leads_to_the_newest(base):
    status, headers, _ = ask(f"{base}/team/decoder{COMPRESSED}")
    assert (status, headers["Location"]) == (302, f"/team/decoder/10{COMPRESSED}")
    assert files(resolve(f"{base}/team/decoder"))["assets/version"] == b"10"


def test_a_version_is_immutable_and_other_paths_are_not(base):
    assert "immutable" in ask(f"{base}/team/decoder/2{COMPRESSED}")[1]["Cache-Control"]
    assert "immutable" not in ask(f"{base}/encoder{COMPRESSED}")[1]["Cache-Control"]
    assert "immutable" not in ask(f"{base}/team/decoder{COMPRESSED}")[1].get("Cache-Control", "")


def test_a_directory_that_is_a_model_is_served_at_the_root(root):
    with serve_in_thread(root / "encoder") as base:
        assert files(resolve(base)) == FILES
        assert b"layers.HubLayer" in ask(f"{base}/")[2]


def test_ranges_are_answered(base, root):
    whole = (root / "packed.tar.gz").read_bytes()
    status, headers, body = ask(f"{base}/encoder{COMPRESSED}", Range="bytes=10-19")
    assert (status, body) == (206, whole[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    tag = headers["ETag"]
    assert ask(f"{base}/encoder{COMPRESSED}", Range="bytes=10-", If_Range=tag)[2] == whole[10:]
    assert ask(f"{base}/encoder{COMPRESSED}", Range="bytes=10-", If_Range='"other"')[2] == whole
    assert ask(f"{base}/encoder{COMPRESSED}", Range=f"bytes={len(whole)}-")[0] == 416


def test_what_a_client_has_is_not_sent_again(base):
    tag = ask(f"{base}/encoder{COMPRESSED}")[1]["ETag"]
    status, _, body = ask(f"{base}/encoder{COMPRESSED}", If_None_Match=tag)
    assert (status, body) == (304, b"")


def test_a_model_that_changes_gets_another_tag(base, root):
    tag = ask(f"{base}/encoder{COMPRESSED}")[1]["ETag"]
    (root / "encoder" / "saved_model.pb").write_bytes(b"another graph")
    status, headers, _ = ask(f"{base}/encoder{COMPRESSED}", If_None_Match=tag)
    assert status == 200
    assert headers["ETag"] != tag


def test_head_tells_the_size_without_a_body(base, root):
    status, headers, body = ask(f"{base}/encoder{COMPRESSED}", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == os.path.getsize(root / "packed.tar.gz")


def test_pages_show_the_handle_to_paste_and_the_models_there_are(base):
    status, headers, body = ask(f"{base}/encoder")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert f"{base}/encoder" in body.decode()
    page = ask(f"{base}/")[2].decode()
    assert [name in page for name in ("encoder", "team/decoder/10", "hidden", "notes")] == [True, True, False, False]


def test_the_page_of_a_model_shows_its_card_as_text(base, root, tmp_path):
    (root / "encoder" / "README.md").write_text("# Encoder\n<script>alert(1)</script>")
    page = ask(f"{base}/encoder")[2].decode()
    assert "# Encoder\n&lt;script&gt;alert(1)&lt;/script&gt;" in page
    (root / "encoder" / "README.md").unlink()
    (root / "encoder" / "README.md").symlink_to(tmp_path / "secret")
    assert "secret" not in ask(f"{base}/encoder")[2].decode()


def test_names_cannot_bring_scripts_into_a_page(root, base):
    write(root / "<script>alert(1)<" / "m")
    for path in ("", "%3Cscript%3Ealert(1)%3C/m", "%3Cimg%20src=x%3E"):
        _, headers, body = ask(f"{base}/{path}")
        assert b"<script>" not in body
        assert b"<img" not in body
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "path",
    [
        "nothing", "notes.txt", ".hidden/model", "encoder/saved_model.pb", "../secret", "%2e%2e/secret", "..%2fsecret",
        "encoder/../../secret", "/etc/passwd", "%2fetc/passwd", "encoder%00", "..%5csecret",
        "team/decoder/1/..%2f..%2f..%2f..",
    ],
)  # fmt: skip
@pytest.mark.parametrize("query", ["", COMPRESSED])
def test_nothing_else_is_shown(base, path, query):
    status, _, body = ask(f"{base}/{path}{query}")
    assert status == 404
    assert b"secret" not in body.replace(path.encode(), b"")


def test_links_lead_nowhere_out_of_the_directory(base, root, tmp_path):
    write(tmp_path / "outside")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "encoder" / "assets" / "passwd").symlink_to(tmp_path / "secret")
    assert ask(f"{base}/link{COMPRESSED}")[0] == 404
    assert ask(f"{base}/encoder{COMPRESSED}")[0] == 404


def test_a_link_within_the_directory_is_a_name_like_any_other(base, root):
    (root / "latest").symlink_to(root / "team" / "decoder" / "2")
    assert files(resolve(f"{base}/latest"))["assets/version"] == b"2"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(base, method):
    assert ask(f"{base}/encoder", method=method)[0] == 405


def test_the_uncompressed_form_is_not_offered(base):
    status, _, body = ask(f"{base}/encoder?tf-hub-format=uncompressed")
    assert status == 501
    assert b"tf-hub-format=compressed" in body


def test_many_clients_at_once_get_the_same_bytes(base):
    sums = []

    def fetch():
        sums.append(hashlib.sha256(ask(f"{base}/encoder{COMPRESSED}")[2]).hexdigest())

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sums) == 8
    assert len(set(sums)) == 1


def test_nothing_is_left_when_the_server_is_closed(root, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with serve_in_thread(root) as base:
        ask(f"{base}/encoder{COMPRESSED}")
        assert os.listdir(tmp_path / "tmp")
    assert os.listdir(tmp_path / "tmp") == []
    with pytest.raises(urllib.error.URLError, match="refused"):
        ask(base)


def test_a_directory_that_is_not_there_is_said(tmp_path):
    with pytest.raises(HandleNotFoundError, match="no directory to serve"), serve_in_thread(tmp_path / "nothing"):
        pass


def test_an_address_that_is_taken_is_said(root, base):
    with pytest.raises(ResolveError, match=r"(?s)cannot listen there.*--port 0"):
        serve(root, port=int(base.rsplit(":", 1)[1]))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_said_with_one_of_this(root, host):
    with pytest.raises(ResolveError, match=r"(?s)cannot listen there.*What to do: .*--host 127\.0\.0\.1"):
        serve(root, host=host, port=0)


def test_the_server_needs_neither_tensorflow_nor_keras(root):
    code = "import sys, keras_hub_layers._src.publish.server; print({'tensorflow', 'keras'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("is_terminal", "refused", "colours"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_requests_are_logged_in_colours_on_a_terminal_that_does_not_refuse_them(
    is_terminal, refused, colours, monkeypatch
):
    monkeypatch.setenv("NO_COLOR", refused)
    monkeypatch.setattr(server.sys, "stderr", SimpleNamespace(isatty=lambda: is_terminal))
    assert server._shows_colours() is colours
