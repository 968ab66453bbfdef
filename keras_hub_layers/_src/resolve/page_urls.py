"""Addresses that people copy from a browser: pages about a model, where the model itself has another address."""

import re

from keras_hub_layers._src.resolve.handles import Handle, display
from keras_hub_layers.errors import HandleError

# Address of a page -> handle of what it is about; the first that matches counts.
_PAGES = (
    (r"https?://github\.com/([^/]+/[^/]+)/blob/(.+?)(\?.*)?", r"https://github.com/\1/raw/\2"),
    (r"https?://huggingface\.co/([^/]+/[^/]+)/blob/(.+?)(\?.*)?", r"https://huggingface.co/\1/resolve/\2"),
    (r"https?://huggingface\.co/([^/]+/[^/]+)/tree/([^/]+)/(.+?)/?", r"hf://\1/\3@\2"),
    (r"https?://huggingface\.co/([^/?#]+/[^/?#]+?)(/tree/main)?/?", r"hf://\1"),
    (r"https?://drive\.google\.com/file/d/([^/]+).*", r"https://drive.google.com/uc?export=download&id=\1"),
    (r"(https?://www\.dropbox\.com/.+)([?&])dl=0", r"\1\2dl=1"),
)


_OTHERS = ("tfLite", "tfJs", "coral", "pyTorch", "onnx", "flax", "scikitLearn")  # frameworks of Kaggle


_KAGGLE = r"https?://(www\.)?kaggle\.com/(m/|models?/)?([^/?#]+)/([^/?#]+)(/[^?#]*)?([?#].*)?"


_HOST = r"(https?:/)?/?((?:[\w-]+\.)+(?:ai|app|co|com|dev|edu|gov|io|net|org)/.+)"


def refuse_page(handle: Handle) -> None:
    """Refuse, before anything is asked for, an address that is known to show a page and not to send a model.

    Raises:
        errors.HandleError: It is one; the message has the address of the model, as far as the page's tells it.
    """
    for pattern, model in _PAGES:
        match = re.fullmatch(pattern, handle.location)
        if match and not re.match(r"https?://huggingface\.co/(datasets|spaces|docs|blog|api)/", handle.location):
            raise _page(handle, f"HubLayer({display(match.expand(model))!r})")
    refuse_framework(handle)
    match = re.fullmatch(_KAGGLE, handle.location)
    if handle.kaggle is None and match and match[2] and not handle.is_archive:
        raise _page(
            handle,
            "# VARIATION: open the page, choose the framework TensorFlow 2, and take the address from there\n"
            f"HubLayer('https://www.kaggle.com/models/{match[3]}/{match[4]}/tensorFlow2/VARIATION/1')",
        )


def refuse_framework(handle: Handle) -> None:
    """Refuse, before anything is asked for, a variation on Kaggle for a framework whose files are no SavedModel.

    Raises:
        errors.HandleError: It is one.
    """
    model = handle.kaggle
    if model is None or model.framework not in _OTHERS:
        return
    meant = re.sub(f"/{model.framework}/", "/tensorFlow2/", handle.text, count=1, flags=re.IGNORECASE)
    raise HandleError(
        "On Kaggle this variation of the model is one for another framework.",
        expected="a variation for tensorFlow2, or for tensorFlow1 if it is to be used as it is",
        received=f"a variation for {model.framework}",
        where=repr(display(handle.text)),
        fix=f"# the model's page says whether there is such a variation, and its name\nHubLayer({display(meant)!r})",
    )


def address_of(path: str) -> str | None:
    """The address that a path without `https://` was meant for; `None` if it does not look like one."""
    match = re.fullmatch(_HOST, path)
    return f"https://{match[2]}" if match else None


def _page(handle: Handle, fix: str) -> HandleError:
    return HandleError(
        "This is the address of a page about a model, not of the model.",
        expected="the address that a model or its archive is sent from",
        received=repr(display(handle.text)),
        where="the handle",
        fix=fix,
    )
