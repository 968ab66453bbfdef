"""Models of Kaggle and Hugging Face, through their own clients, which are optional packages.

The clients keep their own caches (`KAGGLEHUB_CACHE`, `HF_HOME`), credentials and endpoints; what is added here is
that a half-deleted download is noticed, that processes wait for each other, and that errors say what to do.
"""

import importlib
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from types import ModuleType
from typing import TypeVar

from keras_hub_layers._src.files.layout import SAVED_MODEL_FILES, is_whole
from keras_hub_layers._src.resolve.cache import Cache
from keras_hub_layers._src.resolve.checksums import refuse_pin
from keras_hub_layers._src.resolve.environment import offline
from keras_hub_layers._src.resolve.handles import Handle, HuggingFaceModel, KaggleModel, parse
from keras_hub_layers._src.resolve.local import check_directory
from keras_hub_layers.errors import (
    DownloadError,
    HandleError,
    HandleNotFoundError,
    MissingPackageError,
    OfflineError,
    ResolveError,
    add_place,
)

# a repository often holds the weights for other frameworks, too
_FILES = (*SAVED_MODEL_FILES, "fingerprint.pb", "tfhub_module.pb", "keras_metadata.pb", "variables/*", "assets*/*")


T = TypeVar("T")


def resolve_kaggle(handle: Handle, sha256: str | None) -> str:
    """A Kaggle model from kagglehub's cache, or by kagglehub."""
    refuse_pin(handle, sha256, "a Kaggle model, which is sent file by file")
    model = handle.kaggle
    assert model is not None
    if (offline() or model.version) and (found := _in_kaggle_cache(model)):
        return found
    if offline():
        raise not_cached_error(handle, "the cache of kagglehub")
    with add_place(handle.text):
        kagglehub = client("kagglehub", "kaggle")
        with Cache().lock(handle.text):  # kagglehub unpacks in place, without a lock
            path = call(lambda: kagglehub.model_download(str(model)))
            if not is_whole(path):
                path = call(lambda: kagglehub.model_download(str(model), force_download=True))
    check_directory(path)
    return path


def resolve_hugging_face(handle: Handle, sha256: str | None) -> str:
    """A SavedModel in a repository of Hugging Face, by huggingface_hub and its cache."""
    refuse_pin(handle, sha256, "a Hugging Face repository, which is sent file by file")
    model = handle.hugging_face
    assert model is not None
    prefix = f"{model.subfolder}/" if model.subfolder else ""

    def download(hub: ModuleType) -> str:
        snapshot = hub.snapshot_download(
            model.repo,
            revision=model.revision,
            allow_patterns=[prefix + pattern for pattern in _FILES],
            local_files_only=offline(),
        )
        return os.path.join(snapshot, *model.subfolder.split("/")).rstrip(os.sep)

    with add_place(handle.text):
        hub = client("huggingface_hub", "hf")
        path = call(lambda: download(hub))
        if not os.path.isdir(path) or not os.listdir(path):
            raise _no_model_error(model)
    check_directory(path)
    return path


def client(name: str, extra: str) -> ModuleType:
    """An optional package, or the error that says how to install it."""
    try:
        with redirect_stdout(sys.stderr):  # kagglehub's log goes to what is stdout when it is imported
            return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"The package {name} is needed and cannot be imported.",
            expected=f"an installed {name}",
            received=str(error),
            fix=f"pip install 'keras-hub-layers[{extra}]'",
        ) from error


def call(work: Callable[[], T]) -> T:
    """Let a client work: what it prints goes to stderr, what it raises becomes an error of this package."""
    try:
        with redirect_stdout(sys.stderr):
            return work()
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        name = type(error).__name__
        kind: type[ResolveError] = DownloadError
        fix = "check the network and try again"
        if name in ("LocalEntryNotFoundError", "OfflineModeIsEnabled"):
            if offline() or os.environ.get("HF_HUB_OFFLINE"):
                kind, fix = (
                    OfflineError,
                    "fetch it with the network: unset KERAS_HUB_LAYERS_OFFLINE HF_HUB_OFFLINE",
                )
        elif status == 404 or name.endswith("NotFoundError"):
            kind, fix = HandleNotFoundError, "check the spelling and the version, and sign in if the model is private"
        elif status in (401, 403) or name in ("UnauthenticatedError", "CredentialError", "GatedRepoError"):
            fix = "sign in and accept the model's licence: export KAGGLE_API_TOKEN=… or HF_TOKEN=…"
        raise kind(
            "The model hub's client failed.",
            expected="the files of a SavedModel",
            received=f"{name}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}",
            fix=fix,
        ) from error


def not_cached_error(handle: Handle, place: str) -> OfflineError:
    """The error for what would need the network while it is switched off."""
    return OfflineError(
        "The model is not in the cache, and the network is switched off.",
        expected="an entry in the cache, or KERAS_HUB_LAYERS_OFFLINE unset",
        received=f"KERAS_HUB_LAYERS_OFFLINE={os.environ.get('KERAS_HUB_LAYERS_OFFLINE')}",
        where=f"{handle} in {place}",
        fix=f"fetch it once with the network: env -u KERAS_HUB_LAYERS_OFFLINE keras-hub-layers resolve '{handle}'",
    )


def refuse_other_cache(text: str) -> None:
    """Refuse to remove what a client keeps in a cache of its own, which other programs may use.

    Raises:
        ResolveError: The client's cache has it; the message has the command that removes it there.
    """
    try:
        handle = parse(text)
    except HandleError:
        return
    folder, name = "", "kagglehub"
    if handle.hugging_face is not None:
        home = os.environ.get("HF_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "huggingface")
        root = os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")
        folder, name = os.path.join(root, f"models--{handle.hugging_face.repo.replace('/', '--')}"), "huggingface_hub"
    elif handle.kind == "kaggle" and handle.kaggle is not None:
        folder = os.path.join(_kaggle_folder(handle.kaggle), str(handle.kaggle.version or "")).rstrip(os.sep)
    if folder and os.path.isdir(folder):
        raise ResolveError(
            f"The cache of {name} holds this model, and other programs may use it there.",
            expected="a model in the cache of this package",
            received=repr(text),
            where=folder,
            fix=f"rm -r {shlex.quote(folder)}",
        )


def _kaggle_folder(model: KaggleModel) -> str:
    """Where kagglehub keeps the versions of a model."""
    root = os.environ.get("KAGGLEHUB_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "kagglehub")
    return os.path.join(root, "models", model.owner, model.model, model.framework, model.variation)


def _in_kaggle_cache(model: KaggleModel) -> str | None:
    """The version asked for, or the newest that is there; kagglehub marks a finished download with a file."""
    folder = _kaggle_folder(model)
    try:
        versions = sorted((int(name) for name in os.listdir(folder) if name.isdecimal()), reverse=True)
    except OSError:
        return None
    for version in versions:
        path = os.path.join(folder, str(version))
        if model.version in (None, version) and os.path.exists(f"{path}.complete") and is_whole(path):
            return path
    return None


def _no_model_error(model: HuggingFaceModel) -> HandleNotFoundError:
    return HandleNotFoundError(
        "The repository holds no SavedModel there.",
        expected=f"saved_model.pb in {model.subfolder or 'the top folder'} of {model.repo}",
        received="no file of a SavedModel",
        fix=f"name the folder that holds saved_model.pb: hf://{model.repo}/FOLDER",
    )
