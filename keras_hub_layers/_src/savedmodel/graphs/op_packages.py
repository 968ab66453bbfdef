"""Which pip package brings an op that TensorFlow itself does not have, and which release fits a TensorFlow."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

OLDEST_TENSORFLOW = "2.18"  # that this package runs on


@dataclass(frozen=True)
class Package:
    """A package that registers ops when it is imported.

    Attributes:
        module: What to import.
        pip: Name on the package index.
        ops: Regular expression that the names of its ops begin with.
        releases: TensorFlow's minor version -> the minor version that is built for it; empty where the numbers are
            the same.
    """

    module: str
    pip: str
    ops: str
    releases: Mapping[str, str] = field(default_factory=dict, hash=False)

    def requirement(self, tf_version: str) -> str | None:
        """What pip takes to install the release for a TensorFlow, such as `"tensorflow-text==2.21.*"`.

        Args:
            tf_version: Version of TensorFlow, such as `"2.21.0"`.

        Returns:
            A `str`; `None` if no release is built for that TensorFlow.
        """
        minor = ".".join(tf_version.split(".")[:2])
        release = self.releases.get(minor) if self.releases else minor
        return None if release is None else f"{self.pip}=={release}.*"

    def advice(self, tf_version: str) -> str:
        """What to do where the package is missing: a line to paste, or a sentence where none would help.

        Args:
            tf_version: Version of TensorFlow, such as `"2.21.0"`.
        """
        requirement = self.requirement(tf_version)
        if requirement is not None:
            return f'pip install "{requirement}"   # then import {self.module} before loading'
        last = list(self.releases)[-1]
        if _minor(last) >= _minor(OLDEST_TENSORFLOW):
            return f'pip install "tensorflow=={last}.*" "{self.requirement(last)}"   # none is built for {tf_version}'
        return (
            f"no release of {self.pip} is built for TensorFlow {OLDEST_TENSORFLOW} or newer "
            f"({self.releases[last]} is for {last}): ask the publisher for a SavedModel without it"
        )


# The ops and the versions are those of the wheels on the package index, read in 2026-11.
PACKAGES = (
    Package(
        "tensorflow_text",
        "tensorflow-text",
        r"TFText>|TfText|CaseFoldUTF8|NormalizeUTF8|FindSourceOffsets|Sentencepiece|SentenceFragments|RegexSplitWith"
        r"|Wordpiece|FastWordpiece|FastBert|WhitespaceTokenize|UnicodeScriptTokenize|SplitMergeTokenize|PhraseTokenize"
        r"|TokenizerFromLogits|ConstrainedSequence|MaxSpanningTree|RougeL",
    ),
    Package(
        "tensorflow_decision_forests",
        "tensorflow-decision-forests",
        "SimpleML",
        {"2.17": "1.10", "2.18": "1.11", "2.19": "1.12"},
    ),
    Package("tensorflow_recommenders_addons", "tensorflow-recommenders-addons", "TFRA>", {"2.16": "0.8"}),
    Package("tensorflow_addons", "tensorflow-addons", "Addons>", {"2.15": "0.23"}),
    Package("tensorflow_io", "tensorflow-io", "IO>", {"2.16": "0.37"}),
    Package(
        "struct2tensor",
        "struct2tensor",
        "DecodeProtoSparse|DecodeProtoMap|EquiJoin(Any)?Indices|RunLengthBefore|ParquetDataset",
        {"2.17": "0.48"},
    ),
)


def _minor(version: str) -> list[int]:
    return [int(number) for number in version.split(".")[:2]]


def missing_op(err: BaseException) -> str | None:
    """Name of the op that an error of TensorFlow is about, if it is about one."""
    found = re.search(r"Op type not registered '([^']+)'", str(err))
    return found.group(1) if found else None


def package_of(op: str | None) -> Package | None:
    """The package that registers an op; `None` if unknown."""
    if op is None:
        return None
    return next((package for package in PACKAGES if re.match(package.ops, op)), None)


def is_imported(module: str) -> bool:
    """Import a package that registers ops, if it is installed."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
