"""Which package brings an op, and which of its releases fits the TensorFlow that runs."""

import pytest

from keras_hub_layers._src.savedmodel.graphs import op_packages


@pytest.mark.parametrize(
    ("op", "package"),
    [
        ("TFText>FastSentencepieceTokenize", "tensorflow-text"),
        ("SentencepieceTokenizeOp", "tensorflow-text"),
        ("CaseFoldUTF8", "tensorflow-text"),
        ("FastWordpieceTokenizeWithOffsets", "tensorflow-text"),
        ("SimpleMLInferenceOpWithHandle", "tensorflow-decision-forests"),
        ("Addons>Resampler", "tensorflow-addons"),
        ("TFRA>CuckooHashTableFind", "tensorflow-recommenders-addons"),
        ("IO>DecodeWAV", "tensorflow-io"),
        ("DecodeProtoSparseV4", "struct2tensor"),
    ],
)
def test_an_op_is_traced_to_its_package(op, package):
    assert op_packages.package_of(op).pip == package


def test_ops_of_tensorflow_and_of_nobody_have_no_package():
    for op in ("MatMul", "DecodeProtoV2", "UnicodeDecode", "NobodysOp", None):
        assert op_packages.package_of(op) is None


def advice(pip, version):
    return next(package for package in op_packages.PACKAGES if package.pip == pip).advice(version)


def test_tensorflow_text_has_the_minor_version_of_tensorflow():
    for version, release in (("2.18.1", "2.18"), ("2.21.0", "2.21"), ("2.22.0-rc1", "2.22")):
        line = f'pip install "tensorflow-text=={release}.*"   # then import tensorflow_text before loading'
        assert advice("tensorflow-text", version) == line


def test_decision_forests_count_their_own_versions():
    assert advice("tensorflow-decision-forests", "2.19.0").startswith(
        'pip install "tensorflow-decision-forests==1.12.*"'
    )
    assert advice("tensorflow-decision-forests", "2.21.0") == (
        'pip install "tensorflow==2.19.*" "tensorflow-decision-forests==1.12.*"   # none is built for 2.21.0'
    )


def test_a_package_that_ended_before_our_tensorflow_is_not_advised():
    assert advice("tensorflow-addons", "2.21.0") == (
        "no release of tensorflow-addons is built for TensorFlow 2.18 or newer (0.23 is for 2.15): "
        "ask the publisher for a SavedModel without it"
    )


def test_the_op_is_read_from_tensorflow_s_error():
    text = "Op type not registered 'CaseFoldUTF8' in binary running on host."
    assert op_packages.missing_op(ValueError(text)) == "CaseFoldUTF8"
    assert op_packages.missing_op(ValueError("something else")) is None


def test_the_oldest_tensorflow_is_the_one_that_pip_asks_for():
    from importlib.metadata import requires

    assert f"tensorflow>={op_packages.OLDEST_TENSORFLOW}" in requires("keras-hub-layers")
