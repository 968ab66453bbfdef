"""What is installed, and whether it fits together: Python, Keras, TensorFlow, the backend, devices, extras."""

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from keras_hub_layers import __version__
from keras_hub_layers._src.cli.doctor.finding import OK, PROBLEM, WARNING, Finding
from keras_hub_layers._src.cli.doctor.import_check import ImportResult, try_imports
from keras_hub_layers._src.text.progress import progress

LONGEST_TOPIC = "tensorflow-text"


PYTHON = (3, 11)


KERAS = ((3, 8), (3, 15))  # the range that the tests have passed with


TENSORFLOW = ((2, 18), (2, 21))


_TENSORFLOWS = (
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-macos",
    "tf-nightly",
    "tensorflow-rocm",
    "tensorflow-aarch64",
)


_EXTRAS = {  # distribution -> what it is for, the extra that brings it
    "keras-tuner": ("keras_hub_layers.tuners", "tuner"),
    "kagglehub": ("Kaggle's shorthand, private models, publishing", "kaggle"),
    "huggingface_hub": ("hf:// handles, publishing", "hf"),
    "shtab": ("keras-hub-layers completion", "completion"),
}


def check(run: Callable[[tuple[str, ...]], ImportResult] = try_imports) -> Iterator[Finding]:
    """Look at what is installed, one thing after the other.

    Args:
        run: Imports modules and says what happened. Defaults to `try_imports`.

    Yields:
        A `Finding` as soon as it is known.
    """
    yield _check_python()
    yield Finding("this package", OK, f"keras_hub_layers {__version__}")
    modules = ("tensorflow", "keras", "keras_hub_layers.layers")
    with progress("loading TensorFlow and Keras, in a process of their own", after=0):
        imports = run((*modules, "tensorflow_hub") if _version("tensorflow-hub") else modules)
    yield from _check_tensorflow(imports)
    yield from _check_keras(imports)
    yield from _check_backend(imports)
    yield from _check_legacy_keras()
    yield from _check_devices(imports)
    yield from _check_tensorflow_text()
    yield from _check_tensorflow_hub(imports)
    yield from _check_extras()


def _check_python() -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    if sys.version_info[:2] < PYTHON:
        return Finding("Python", PROBLEM, f"{text}; it is too old", f"python{PYTHON[0]}.{PYTHON[1]} -m venv .venv")
    return Finding("Python", OK, text)


def _check_tensorflow(imports: ImportResult) -> Iterator[Finding]:
    versions = {name: version for name in _TENSORFLOWS if (version := _version(name))}
    fits = f'pip install "tensorflow>={_version_text(TENSORFLOW[0])},<{TENSORFLOW[1][0]}.{TENSORFLOW[1][1] + 1}"'
    if not versions:
        yield Finding("TensorFlow", PROBLEM, "it is not installed", fits)
        return
    if len(set(versions.values())) > 1:
        both = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield Finding("TensorFlow", WARNING, f"several are installed: {both}", f"pip uninstall {list(versions)[-1]}")
    version = next(iter(versions.values()))
    if imports.crash:
        yield Finding("TensorFlow", PROBLEM, f"{version} ends the process that imports it: {imports.crash}", fits)
    elif "tensorflow" in imports.errors and not _is_of_backend(imports.errors["tensorflow"]):
        yield Finding("TensorFlow", PROBLEM, f"{version} cannot be imported: {imports.errors['tensorflow']}", fits)
    else:
        yield _in_range("TensorFlow", version, TENSORFLOW, fits)


def _check_keras(imports: ImportResult) -> Iterator[Finding]:
    fits = f'pip install "keras>={_version_text(KERAS[0])},<{KERAS[1][0]}.{KERAS[1][1] + 1}"'
    version = _version("keras")
    if not version:
        yield Finding("Keras", PROBLEM, "it is not installed", fits)
        return
    if "keras" in imports.errors and not _is_of_backend(imports.errors["keras"]):
        yield Finding("Keras", PROBLEM, f"{version} cannot be imported: {imports.errors['keras']}", fits)
        return
    yield _in_range("Keras", version, KERAS, fits)
    old, new = _version("tf_keras"), _version("tensorflow")
    if old and new and _minor(old) != _minor(new):
        text = f"tf_keras {old} (Keras 2) does not fit TensorFlow {new}; it matters only where both are used"
        yield Finding("Keras", WARNING, text, f'pip install "tf_keras=={_version_text(_minor(new))}.*"')


def _in_range(topic: str, version: str, tested: tuple[tuple[int, int], tuple[int, int]], fits: str) -> Finding:
    text = f"{version}, tested with {_version_text(tested[0])} to {_version_text(tested[1])}"
    if _minor(version) < tested[0]:
        return Finding(topic, PROBLEM, f"{text}: it is too old", fits)
    if _minor(version) > tested[1]:
        return Finding(topic, WARNING, f"{text}: it is newer than what was tested", fits)
    return Finding(topic, OK, text)


def _named_backend() -> tuple[str, str]:
    """The backend that Keras takes, and who says so."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "KERAS_BACKEND"
    path = os.path.join(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")
    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["backend"]), path
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow", "Keras' default"


def _is_of_backend(error: str) -> bool:
    """Whether an import failed because of the chosen backend; TensorFlow imports Keras, too."""
    name = _named_backend()[0]
    return name != "tensorflow" and (name in error or "backend" in error or "Keras cannot be imported" in error)


def _check_backend(imports: ImportResult) -> Iterator[Finding]:
    backend, source = _named_backend()
    if backend != "tensorflow":
        limits = "HubLayer computes dense tensors of numbers there, and needs 'tensorflow' for the rest"
        is_known = backend in ("jax", "torch")
        yield Finding(
            "backend",
            WARNING if is_known else PROBLEM,
            f"Keras runs on {backend!r} ({source}); " + (limits if is_known else "HubLayer needs 'tensorflow'"),
            "export KERAS_BACKEND=tensorflow\n"
            'import os; os.environ["KERAS_BACKEND"] = "tensorflow"   # in a notebook, before keras is imported',
        )
    else:
        yield Finding("backend", OK, f"tensorflow ({source})")
    failed = imports.errors.get("keras_hub_layers.layers")
    if failed and not {"tensorflow", "keras"} & imports.errors.keys():
        yield Finding("this package", PROBLEM, f"keras_hub_layers.layers cannot be imported: {failed}")


def _check_legacy_keras() -> Iterator[Finding]:
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        yield Finding(
            "tf.keras",
            WARNING,
            "TF_USE_LEGACY_KERAS makes tf.keras Keras 2, whose models refuse Keras 3 layers; import keras instead of "
            "tf.keras, or unset it",
            "unset TF_USE_LEGACY_KERAS",
        )


def _check_devices(imports: ImportResult) -> Iterator[Finding]:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if imports.crash or "tensorflow" in imports.errors:
        return
    if imports.gpus:
        yield Finding("GPU", OK, f"{len(imports.gpus)} visible: {', '.join(imports.gpus)}")
    elif not _has_nvidia_driver():
        yield Finding("GPU", OK, "none; the CPU computes")
    elif hidden is not None and hidden.strip() in ("", "-1"):
        yield Finding(
            "GPU", WARNING, f"CUDA_VISIBLE_DEVICES={hidden!r} hides what there is", "unset CUDA_VISIBLE_DEVICES"
        )
    else:
        reason = (
            "its CUDA libraries are missing or do not fit" if imports.built_with_cuda else "it was built without CUDA"
        )
        text = f"there is an NVIDIA driver, and TensorFlow sees no GPU: {reason}"
        yield Finding("GPU", WARNING, text, 'pip install "tensorflow[and-cuda]"')


def _has_nvidia_driver() -> bool:
    return os.path.exists("/proc/driver/nvidia/version")


def _check_tensorflow_text() -> Iterator[Finding]:
    text, new = _version("tensorflow-text"), _version("tensorflow")
    fits = f'pip install "tensorflow-text=={_version_text(_minor(new))}.*"' if new else ""
    if not text:
        line = f"not installed; text models that need its ops say so: {fits}" if fits else "not installed"
        yield Finding("tensorflow-text", OK, line)
    elif new and _minor(text) != _minor(new):
        yield Finding(
            "tensorflow-text", PROBLEM, f"{text} does not fit TensorFlow {new}: its ops cannot be loaded", fits
        )
    else:
        yield Finding("tensorflow-text", OK, text)


def _check_tensorflow_hub(imports: ImportResult) -> Iterator[Finding]:
    version = _version("tensorflow-hub")
    if not version:
        return
    error = imports.errors.get("tensorflow_hub")
    if error is None or _is_of_backend(error):
        yield Finding("tensorflow_hub", OK, f"{version}; not needed, it shares the cache where TFHUB_CACHE_DIR is set")
    elif "pkg_resources" in error:
        text = f"{version} cannot be imported ({error}); only code that imports it needs it"
        yield Finding("tensorflow_hub", WARNING, text, 'pip install "setuptools<82"')
    else:
        yield Finding(
            "tensorflow_hub", WARNING, f"{version} cannot be imported: {error}", "pip uninstall tensorflow-hub"
        )


def _check_extras() -> Iterator[Finding]:
    for name, (purpose, extra) in _EXTRAS.items():
        version = _version(name)
        absent = f'not installed; for {purpose}: pip install "keras-hub-layers[{extra}]"'
        yield Finding(name, OK, version or absent)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _minor(version: str) -> tuple[int, int]:
    major, minor = [*version.split("."), "0"][:2]
    return int(major), int("".join(filter(str.isdigit, minor)) or 0)


def _version_text(minor: tuple[int, int]) -> str:
    return f"{minor[0]}.{minor[1]}"
