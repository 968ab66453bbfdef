"""Which pip package brings an op that TensorFlow itself does not have."""

import importlib
import re

# Op name pattern -> (module that registers it, pip package). The packages follow TensorFlow's versions.
_OP_PACKAGES = (
    (
        r"TFText>|CaseFoldUTF8|NormalizeUTF8|Sentencepiece|RegexSplitWithOffsets|Wordpiece|FastWordpiece|FastBert"
        r"|WhitespaceTokenize|UnicodeScriptTokenize|SplitMerge|ConstrainedSequence|TokenizerFromLogits|RougeL"
        r"|RaggedTensorToTensorTruncate|TrimToken|PhraseTokenizer|ByteSplit",
        ("tensorflow_text", "tensorflow-text"),
    ),
    (r"SimpleML", ("tensorflow_decision_forests", "tensorflow-decision-forests")),
    (r"TFRA>|Tfra", ("tensorflow_recommenders_addons", "tensorflow-recommenders-addons")),
    (r"Addons>", ("tensorflow_addons", "tensorflow-addons")),
    (r"IO>", ("tensorflow_io", "tensorflow-io")),
    (r"EncodeProtoSparse|DecodeProtoSparse|Struct2Tensor|PathGet", ("struct2tensor", "struct2tensor")),
)


def missing_op(err: BaseException) -> str | None:
    """Name of the op that an error of TensorFlow is about, if it is about one."""
    found = re.search(r"Op type not registered '([^']+)'", str(err))
    return found.group(1) if found else None


def package_of(op: str | None) -> tuple[str, str] | None:
    """The Python module that registers an op, and the pip package that brings it; `None` if unknown."""
    if op is None:
        return None
    return next((package for pattern, package in _OP_PACKAGES if re.match(pattern, op)), None)


def is_imported(module: str) -> bool:
    """Import a package that registers ops, if it is installed."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
