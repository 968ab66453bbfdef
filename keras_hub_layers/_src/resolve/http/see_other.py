"""see_other(url): the place that a server names instead of sending an archive."""

from keras_hub_layers._src.resolve.handles import display
from keras_hub_layers._src.resolve.http.bounds import Bounds
from keras_hub_layers._src.resolve.http.refusals import refusal
from keras_hub_layers._src.resolve.http.request import get, retry, wire_errors
from keras_hub_layers._src.resolve.http.session import session
from keras_hub_layers.errors import DownloadError

_EXPECTED = "HTTP 303 with a gs:// path as its body"


def see_other(url: str, bounds: Bounds) -> str:
    """The place that a 303 answer names in its body: the uncompressed form of the hosting protocol.

    Raises:
        DownloadError: Another answer, or none.
    """
    deadline = bounds.deadline()

    def ask() -> str:
        with session() as web:
            response, at, _ = get(web, url, {"Accept-Encoding": "identity"}, bounds, deadline, redirects=False)
            with response, wire_errors(at):
                body = response.raw.read1(4096)
        if response.status_code != 303:
            raise refusal(url, at, response, body or b"nothing", _EXPECTED)
        return body.decode("utf-8", "replace").strip()

    def no_answer(reason: str) -> DownloadError:
        return DownloadError(
            "The server does not answer.",
            expected=_EXPECTED,
            received=f"{reason})",
            where=display(url),
            fix="check the network, or ask for the archive: export TFHUB_MODEL_LOAD_FORMAT=COMPRESSED",
        )

    return retry(ask, bounds, deadline, no_answer)
