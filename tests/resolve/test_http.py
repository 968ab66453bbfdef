"""Redirects, credentials and certificates: where a request may go, and what it may take along."""

import ssl

import certifi
import pytest
import trustme
from faults import FaultyServer

from keras_hub_layers._src.resolve.download import download
from keras_hub_layers._src.resolve.http.bounds import Bounds
from keras_hub_layers._src.resolve.http.request import Broken, get
from keras_hub_layers._src.resolve.http.session import session
from keras_hub_layers.errors import DownloadError, HubWarning

PAYLOAD = b"\x1f\x8b and so on"
BOUNDS = Bounds(attempts=2, backoff=0)
BASIC = "Basic YWRhOnMvY3JldA=="  # ada:s/cret


@pytest.fixture(autouse=True)
def _plain_settings(monkeypatch):
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def server():
    with FaultyServer(PAYLOAD) as running:
        yield running


@pytest.fixture
def safe(tls):
    """An https server whose certificate nobody trusts yet."""
    with FaultyServer(PAYLOAD, tls) as running:
        yield running


@pytest.fixture
def trusted(safe, authority, tmp_path, monkeypatch):
    """The same, with its authority in SSL_CERT_FILE."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return safe


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive"


def with_user(url):
    return url.replace("://", "://ada:s%2Fcret@")


@pytest.mark.parametrize("count", [1, 10])
def test_redirects_are_followed_without_reading_their_bodies(server, path, count):
    download(f"{server.base}/redirect/{count}", path, bounds=BOUNDS)
    assert path.read_bytes() == PAYLOAD
    assert len(server.asked) == count + 1


@pytest.mark.parametrize("fault", ["redirect/11", "redirect-loop"])
def test_redirects_end(server, path, fault):
    with pytest.raises(DownloadError, match="more than 10 redirects"):
        download(f"{server.base}/{fault}", path, bounds=BOUNDS)
    assert len(server.asked) == 11


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://host/m",
        "gopher://host",
        "data:,x",
        "http://",
        "http://[::1",
        "javascript:x",
        "http://h:0/",
    ],
)
def test_redirects_lead_to_web_addresses_only(server, path, target):
    with pytest.raises(DownloadError, match="does not follow"):
        download(f"{server.base}/location?{target}", path, bounds=BOUNDS)
    assert not path.exists()


def test_a_redirect_from_https_down_to_http_is_refused(trusted, server, path):
    trusted.elsewhere = f"{server.base}/ok"
    with pytest.raises(DownloadError, match="unencrypted"):
        download(f"{trusted.base}/redirect-elsewhere", path, bounds=BOUNDS)
    assert server.asked == []


def test_a_redirect_from_http_up_to_https_is_followed(trusted, server, path):
    server.elsewhere = f"{trusted.base}/ok"
    assert download(f"{server.base}/redirect-elsewhere", path, bounds=BOUNDS).url == f"{trusted.base}/ok"


def test_credentials_go_to_the_host_that_they_were_written_for(server, path):
    download(with_user(f"{server.base}/private"), path, bounds=BOUNDS)
    assert server.asked[0].headers["authorization"] == BASIC


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_credentials_do_not_follow_a_redirect_to_another_origin(server, path, code):
    with FaultyServer(PAYLOAD) as other:
        server.elsewhere = f"{other.base}/ok"
        download(with_user(f"{server.base}/redirect-elsewhere/{code}"), path, bounds=BOUNDS)
        assert server.asked[0].headers["authorization"] == BASIC
        assert "authorization" not in other.asked[0].headers
        assert "referer" not in other.asked[0].headers


def test_credentials_stay_with_a_redirect_within_the_origin(server, path):
    server.elsewhere = "/ok"
    download(with_user(f"{server.base}/redirect-elsewhere"), path, bounds=BOUNDS)
    assert [asked.headers["authorization"] for asked in server.asked] == [BASIC, BASIC]


def test_credentials_that_a_redirect_brings_are_not_used(server, path):
    server.elsewhere = server.base.replace("://", "://eve:x@") + "/ok"
    download(f"{server.base}/redirect-elsewhere", path, bounds=BOUNDS)
    assert "authorization" not in server.asked[1].headers


def test_a_signed_query_of_a_redirect_stays_verbatim(server, path):
    server.elsewhere = "/ok?X-Signature=a%2Fb%3D&empty=&c=~+%20"
    download(f"{server.base}/redirect-elsewhere", path, bounds=BOUNDS)
    assert server.asked[1].query == "X-Signature=a%2Fb%3D&empty=&c=~+%20"


def test_an_untrusted_certificate_is_refused_at_once_with_the_way_out(safe, path):
    with pytest.raises(DownloadError, match=r"(?s)certificate is not trusted.*SSL_CERT_FILE"):
        download(f"{safe.base}/ok", path, bounds=BOUNDS)


def test_a_certificate_for_another_host_is_refused(trusted, path):
    with pytest.raises(DownloadError, match="certificate is not trusted"):
        download(trusted.base.replace("localhost", "127.0.0.1") + "/ok", path, bounds=BOUNDS)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_authority_of_an_organisation_is_named_by_an_environment_variable(
    safe, authority, path, tmp_path, monkeypatch, variable
):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    download(f"{safe.base}/ok", path, bounds=BOUNDS)
    assert path.read_bytes() == PAYLOAD


def test_certificates_are_not_checked_only_when_told_so_and_then_with_a_warning(safe, path, monkeypatch):
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "true")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())  # requests lets it win over a session's setting
    with pytest.warns(HubWarning, match="SSL_CERT_FILE"):
        download(f"{safe.base}/ok", path, bounds=BOUNDS)
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "1")  # tensorflow_hub takes no other word than "true"
    with pytest.raises(DownloadError, match="certificate is not trusted"):
        download(f"{safe.base}/ok", path, bounds=BOUNDS)


def test_proxies_are_those_of_the_environment(server, path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.setenv("no_proxy", "")
    download("http://hub.invalid/ok", path, bounds=BOUNDS)
    assert path.read_bytes() == PAYLOAD
    assert server.asked[0].path == "http://hub.invalid/ok"


def test_a_server_that_is_not_there_breaks_the_attempt():
    with session() as web, pytest.raises(Broken, match="refused"):
        get(web, "http://127.0.0.1:9/", {}, BOUNDS)


def test_bounds_are_read_from_the_environment(monkeypatch):
    assert Bounds.from_environment() == Bounds()
    monkeypatch.setenv("KERAS_HUB_LAYERS_TIMEOUT", "5")
    monkeypatch.setenv("KERAS_HUB_LAYERS_MAX_BYTES", "1000")
    assert Bounds.from_environment() == Bounds(connect=5, silence=5, max_bytes=1000)
    assert Bounds.from_environment().deadline().seconds == 10
    monkeypatch.setenv("KERAS_HUB_LAYERS_MIN_SPEED", "7")
    assert Bounds.from_environment().min_speed == 7
    monkeypatch.delenv("KERAS_HUB_LAYERS_MIN_SPEED")
    monkeypatch.setenv("KERAS_HUB_LAYERS_TIMEOUT", "90")
    assert Bounds.from_environment() == Bounds(connect=20, silence=90, max_bytes=1000)
