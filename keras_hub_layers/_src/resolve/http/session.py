"""session(): requests' session with this package's trust in certificates."""

import ssl
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from keras_hub_layers._src.resolve import environment
from keras_hub_layers.errors import warn


class _Session(requests.Session):
    """Redirects are followed by `get`, which knows what to refuse; requests would read their bodies, too."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


class _SystemTrust(HTTPAdapter):
    """Trusts the system's certificates (and SSL_CERT_FILE) besides those that requests brings."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=ssl.create_default_context(), **kwargs)


def session() -> requests.Session:
    """A session with the package's TLS settings; the caller closes it."""
    web = _Session()
    web.headers["User-Agent"] = "keras-hub-layers"
    if environment.unchecked_certificates():
        warn(
            "TFHUB_DISABLE_CERT_VALIDATION=true: anybody between you and the server can replace the model. "
            "Name your certificate authority instead: export SSL_CERT_FILE=/path/ca.pem"
        )
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        web.verify = False
    else:
        web.mount("https://", _SystemTrust())
    return web
