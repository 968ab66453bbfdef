"""The list of ops that comes with the package is that of the installed TensorFlow, and others are told apart."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from keras_hub_layers._src.compat import tensorflow as tensorflow_compat
from keras_hub_layers._src.savedmodel.graphs import op_registry

MINOR = ".".join(tf.__version__.split(".")[:2])
REGISTERED = """
import json
from keras_hub_layers._src.compat.tensorflow import registered_ops
print(json.dumps(registered_ops()))
"""


@pytest.fixture
def forgetful(monkeypatch):
    """Says that another version is installed, and forgets it afterwards."""

    def install(version):
        monkeypatch.setattr(tensorflow_compat, "installed_version", lambda: version)

    return install


def test_the_list_has_just_the_ops_of_the_installed_tensorflow_with_their_gradients():
    listed = op_registry.listed_ops(MINOR)
    if listed is None:
        pytest.skip(f"TensorFlow {MINOR} is newer than the list: python3 dev.py ops")
    done = subprocess.run([sys.executable, "-c", REGISTERED], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == listed  # of a process in which nobody has added any


def test_each_supported_version_is_listed_with_ops_of_its_own():
    newest = op_registry.listed_ops("2.21")
    for version in ("2.18", "2.19", "2.20", "2.21"):
        ops = op_registry.listed_ops(version)
        assert {"MatMul", "StatefulPartitionedCall", "_Arg", "RestoreV2"} <= set(ops)
        assert (ops["MatMul"], ops["Shape"], ops["StringSplitV2"]) == ("defined", "none", "undefined")
    assert set(newest) != set(op_registry.listed_ops("2.18"))
    assert op_registry.listed_ops("2.17") is None


def test_what_is_written_is_what_is_read(monkeypatch):
    ops = {
        "1.1": {"Always": "none", "Old": "defined", "Changed": "undefined", "Twice": "none"},
        "1.2": {"Always": "none", "Changed": "undefined"},
        "1.3": {"Always": "none", "New": "undefined", "Changed": "defined", "Twice": "none"},
    }
    text = op_registry.format_list(ops)
    assert "\nAlways none\n" in text
    monkeypatch.setattr(op_registry, "_read_list", lambda: (list(ops), text.splitlines()[2:]))
    read = {version: op_registry.listed_ops.__wrapped__(version) for version in ops}
    assert read == ops


def test_an_op_is_looked_up_for_the_version_that_is_installed(forgetful, monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow")  # as in a process that did not import it
    added = sorted(set(op_registry.listed_ops("2.21")) - set(op_registry.listed_ops("2.18")))[0]
    for version, present in (("2.18.1", False), ("2.21.0", True)):
        forgetful(version)
        assert op_registry.is_registered(added) == op_registry.is_of_tensorflow(added) == present
    assert (op_registry.gradient_kind("Shape"), op_registry.gradient_kind("NobodysOp")) == ("none", "undefined")


def test_of_a_version_that_is_not_listed_tensorflow_itself_is_asked(forgetful):
    forgetful("99.0")
    assert [op_registry.is_registered(op) for op in ("MatMul", "_Arg", "NobodysOp")] == [True, True, False]
    assert [op_registry.is_of_tensorflow(op) for op in ("MatMul", "_Arg", "NobodysOp")] == [True, False, False]
    assert [op_registry.gradient_kind(op) for op in ("MatMul", "Shape", "NobodysOp")] == [
        "defined",
        "none",
        "undefined",
    ]


def test_a_gradient_that_somebody_registers_counts_where_tensorflow_runs():
    assert op_registry.gradient_kind("NobodysOpWithGradient") == "undefined"
    tf.no_gradient("NobodysOpWithGradient")
    assert op_registry.gradient_kind("NobodysOpWithGradient") == "none"


def test_the_installed_version_is_read_without_importing_tensorflow():
    code = "import sys\nfrom keras_hub_layers._src.compat.tensorflow import installed_version\n"
    code += "print(installed_version(), 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [tf.__version__, "False"]
