"""try_imports: what happens when TensorFlow, Keras and tensorflow_hub are imported, in a process of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass, field

_MARK = "keras_hub_layers imports: "


# A process of its own: an import can end it (wrong CPU, broken driver), and takes seconds and memory.
_SCRIPT = """
import json, os, sys, warnings
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.simplefilter("ignore")
mark, *names = sys.argv[1:]
result = {"errors": {}, "versions": {}, "gpus": [], "backend": ""}
for name in names:
    try:
        result["versions"][name] = str(getattr(__import__(name), "__version__", ""))
    except BaseException as error:
        result["errors"][name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
tf, keras = sys.modules.get("tensorflow"), sys.modules.get("keras")
if "tensorflow" in result["versions"]:
    result["gpus"] = [device.name for device in tf.config.list_physical_devices("GPU")]
    result["built_with_cuda"] = tf.test.is_built_with_cuda()
if "keras" in result["versions"]:
    result["backend"] = keras.backend.backend()
print("\\n" + mark + json.dumps(result), flush=True)
"""


@dataclass(frozen=True)
class ImportResult:
    """What a fresh process said.

    Attributes:
        versions: Module -> `__version__`, of those that could be imported.
        errors: Module -> why not.
        backend: Name of Keras' backend.
        gpus: Names of the GPUs that TensorFlow sees.
        built_with_cuda: Whether this TensorFlow can use NVIDIA GPUs.
        crash: How the process ended, if it ended before it could say anything; else `""`.
    """

    versions: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    backend: str = ""
    gpus: tuple[str, ...] = ()
    built_with_cuda: bool = False
    crash: str = ""


def try_imports(modules: tuple[str, ...], timeout: float = 180) -> ImportResult:
    """Import modules in a fresh process with the same environment.

    Args:
        modules: Names, in the order in which they are imported.
        timeout: Seconds after which the process is ended. Defaults to 180.
    """
    command = [sys.executable, "-c", _SCRIPT, _MARK, *modules]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return ImportResult(crash=f"no answer after {timeout:.0f} s")
    except OSError as error:
        return ImportResult(crash=f"{sys.executable} cannot be started: {error.strerror}")
    line = next((line for line in done.stdout.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        last = [text for text in done.stderr.splitlines() if text.strip()][-1:]
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        return ImportResult(crash=": ".join([ended, *last]))
    result = json.loads(line.removeprefix(_MARK))
    return ImportResult(**{**result, "gpus": tuple(result["gpus"])})
