"""What the names of a SavedModel's variables say: which of them belong together, and in which order they stand."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

# A numbered block in a variable's name: `block_13`, `conv2_block1`, `block1a`, `layer_10`, `layer_._3`,
# `stages/0/blocks/2`.
_WORD = (
    r"(?:[A-Za-z]+\d*_)?(?:encoder|decoder|transformer|residual|res)?_?"
    r"(?:block|layer|stage|unit|cell|mixed|expanded_conv|h)s?"
)


_BLOCK = rf"(?i)(?:^|(?<=[/.])){_WORD}[_/.]{{0,3}}\d+[a-z]?(?=[/_.]|$)(?:[/.]{_WORD}[_/.]{{0,3}}\d+[a-z]?(?=[/_.]|$))?"


_RANDOM = r"(?i)(^|/)seed_generator(_\d+)?/|seed_generator_state$"  # dropout's, not a layer of its own


def partition(names: Sequence[str]) -> dict[str, list[int]]:
    """The groups of variables that their names show, from the input to the output.

    Args:
        names: Names in the SavedModel, in the order of use.

    Returns:
        Name of each group -> places of its members in `names`.
    """
    members: dict[str, list[int]] = {}
    for place, label in enumerate(_labels(names)):
        members.setdefault(label, []).append(place)
    return {label: members[label] for label in _by_number(list(members))}


def in_order_of_use(variables: Iterable[Any], traces: Iterable[Any], key: Any = id) -> list[Any]:
    """Variables in the order in which the traces of a function use them first, then those that it does not use.

    Args:
        variables: What to sort.
        traces: Objects with `variables`, those that the graph uses.
        key: What identifies a variable on both sides. Defaults to `id`.
    """
    longest_first = sorted(traces, key=lambda trace: -len(trace.variables))
    used = dict.fromkeys(id(variable) for trace in longest_first for variable in trace.variables)
    position = {identity: place for place, identity in enumerate(used)}
    return sorted(variables, key=lambda variable: position.get(key(variable), len(position)))


def _labels(names: Sequence[str]) -> list[str]:
    """The group of each variable, of names in the order of use; states of random generators go with a neighbour."""
    kept = [name for name in names if not re.search(_RANDOM, name)]
    if kept and len(kept) < len(names):
        others = _labels(kept)
        upcoming, latest = iter(others), others[0]
        labels = []
        for name in names:
            latest = latest if re.search(_RANDOM, name) else next(upcoming)
            labels.append(latest)
        return labels
    blocks = _blocks(names)
    numbered = [place for place, block in enumerate(blocks) if block is not None]
    if len({block for block in blocks if block is not None}) < 2:
        return [name.rpartition("/")[0] or name for name in names]
    before, after = names[: numbered[0]], names[numbered[-1] + 1 :]
    stem = "embeddings" if any("embed" in name.lower() for name in before) else "stem"
    head = "pooler" if any("pooler" in name.lower() for name in after) else "head"
    labels = []
    for place, block in enumerate(blocks):
        if block is not None:
            labels.append(block)
        else:
            labels.append(stem if place < numbered[0] else head if place > numbered[-1] else labels[-1])
    return labels


def _blocks(names: Sequence[str]) -> list[str | None]:
    """The numbered block of each name. Where several stacks count alike (an encoder and a decoder), with its stack."""
    matches = [re.search(_BLOCK, name) for name in names]
    stacks: dict[str, set[tuple[str, ...]]] = {}
    for match in matches:
        if match is not None:
            stacks.setdefault(_word(match.group()), set()).add(_path(match))
    alike = [paths for paths in stacks.values() if len(paths) > 1]
    shared = min((_common_length(paths) for paths in alike), default=0)
    return [
        None if match is None else _word("_".join([*(_path(match)[shared:] if alike else ()), match.group()]))
        for match in matches
    ]


def _common_length(paths: set[tuple[str, ...]]) -> int:
    """How many parts the beginnings of paths have in common."""
    first, *others = sorted(paths)
    return next(
        (n for n, segment in enumerate(first) if any(path[n : n + 1] != (segment,) for path in others)), len(first)
    )


def _path(match: re.Match[str]) -> tuple[str, ...]:
    """What stands before a block in a name."""
    return tuple(segment for segment in re.split(r"[/.]", match.string[: match.start()]) if segment)


def _word(text: str) -> str:
    return re.sub(r"[/._]+", "_", text)


def _by_number(labels: list[str]) -> list[str]:
    """Labels in their order, except that the blocks of each numbering count upwards."""
    numberings: dict[str, list[str]] = {}
    for label in labels:
        if re.fullmatch(_BLOCK, label):
            numberings.setdefault(re.sub(r"\d+", "#", label), []).append(label)
    upwards = {
        numbering: iter(sorted(blocks, key=lambda block: [int(number) for number in re.findall(r"\d+", block)]))
        for numbering, blocks in numberings.items()
    }
    return [next(upwards.get(re.sub(r"\d+", "#", label), iter([label])), label) for label in labels]
