"""Which pip package brings an op or a type that TensorFlow does not have, and which release fits a TensorFlow."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

OLDEST_TENSORFLOW = "2.18"  # that this package runs on


@dataclass(frozen=True)
class Package:
    """A package that registers ops, or types of inputs and outputs, when it is imported.

    Attributes:
        module: What to import.
        pip: Name on the package index.
        ops: Regular expression that the names of its ops begin with.
        releases: TensorFlow's minor version -> the minor version that is built for it; empty where the numbers are
            the same, `None` where any release will do.
        types: Regular expression that the names of its types begin with; `""` for none.
    """

    module: str
    pip: str
    ops: str
    releases: Mapping[str, str] | None = field(default_factory=dict, hash=False)
    types: str = ""

    def requirement(self, tf_version: str) -> str | None:
        """What pip takes to install the release for a TensorFlow, such as `"tensorflow-text==2.21.*"`.

        Args:
            tf_version: Version of TensorFlow, such as `"2.21.0"`.

        Returns:
            A `str`; `None` if no release is built for that TensorFlow.
        """
        if self.releases is None:
            return self.pip
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
        assert self.releases
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
    Package("tensorflow_probability", "tensorflow-probability[tf]", "", None, r"tensorflow_probability\.|tfp\."),
)


def _minor(version: str) -> list[int]:
    return [int(number) for number in version.split(".")[:2]]


def missing_op(err: BaseException) -> str | None:
    """Name of the op that an error of TensorFlow is about, if it is about one."""
    match = re.search(r"Op type not registered '([^']+)'", str(err))
    return match.group(1) if match else None


def missing_type(err: BaseException) -> str | None:
    """Name of the type that an error of TensorFlow is about, since no imported package has registered it."""
    match = re.search(r"The type '([^']+)' has not been registered", str(err))
    return match.group(1) if match else None


def package_of(op: str | None) -> Package | None:
    """The package that registers an op; `None` if unknown."""
    if op is None:
        return None
    return next((package for package in PACKAGES if package.ops and re.match(package.ops, op)), None)


def package_of_type(name: str | None) -> Package | None:
    """The package that registers a type; by its name the one that it is defined in; `None` if that says nothing."""
    if name is None:
        return None
    known = next((package for package in PACKAGES if package.types and re.match(package.types, name)), None)
    module = name.partition(".")[0]
    if known is None and module != name and module.isidentifier():
        return Package(module, module.replace("_", "-"), "", None)
    return known


def is_imported(module: str) -> bool:
    """Import a package that registers ops, if it is installed."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
