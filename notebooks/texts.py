"""Real sentences that are on this machine already: what four Python libraries say about themselves.

The first paragraph of a docstring is an example, its library is the label. All other paragraphs are text without
labels. A name that gives the library away is taken out of the examples.
"""

import importlib.util
import re
from collections import Counter
from pathlib import Path

import numpy as np

LIBRARIES = ("keras", "matplotlib", "numpy", "sklearn")
UNLABELLED = (*LIBRARIES, "scipy")
DOCSTRING = re.compile(r':\n\s+[rR]?"""\s*(.*?)"""', re.DOTALL)
NAMES = re.compile(r"\b(jax|keras|matplotlib|np|numpy|plt|pyplot|scikit|sklearn|tensorflow|tf|torch)\b", re.IGNORECASE)
WORDS = range(6, 61)  # the length of an example


def docstrings(library):
    """The docstrings of an installed library as lists of paragraphs, tests left out; nothing is imported."""
    root = Path(importlib.util.find_spec(library).origin).parent
    found = {}
    for file in sorted(root.rglob("*.py")):
        if {"test", "tests", "testing"} & set(file.relative_to(root).parts) or file.stem.endswith("_test"):
            continue
        for text in DOCSTRING.findall(file.read_text("utf-8", errors="ignore")):
            found.setdefault(text)
    return [[" ".join(part.split()) for part in re.split(r"\n\s*\n", text)] for text in found]


def examples(per_class, held_out, seed):
    """First paragraphs of each library.

    Returns:
        `(texts, labels)` with `per_class` examples of each library, and such a pair with `held_out` others of each.
    """
    firsts = []
    for library in LIBRARIES:
        cleaned = (" ".join(NAMES.sub(" ", parts[0]).split()) for parts in docstrings(library))
        firsts.append(list(dict.fromkeys(text for text in cleaned if len(text.split()) in WORDS)))
    known = Counter(text for texts in firsts for text in texts)  # two libraries may say the same
    random = np.random.default_rng(seed)
    train, test = [], []
    for label, texts in enumerate(firsts):
        own = [text for text in texts if known[text] == 1]
        chosen = [(own[index], label) for index in random.permutation(len(own))[: per_class + held_out]]
        train += chosen[:per_class]
        test += chosen[per_class:]
    return tuple(
        (np.array([text for text, _ in part]), np.array([label for _, label in part], "int32"))
        for part in (train, test)
    )


def unlabelled():
    """All paragraphs but the first ones, without saying where they come from."""
    for library in UNLABELLED:
        for parts in docstrings(library):
            if parts[1:]:
                yield " ".join(parts[1:])
