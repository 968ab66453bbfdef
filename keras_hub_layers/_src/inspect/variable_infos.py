"""The records of a SavedModel's variables: one by one, in groups, and in sum."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from keras_hub_layers._src.inspect import variable_groups
from keras_hub_layers._src.inspect.records import Extent, GroupInfo, VariableInfo
from keras_hub_layers._src.savedmodel.contents import Function, Variables, name_of


def variable_infos(variables: Variables, is_reached: Callable[[Any], bool]) -> dict[int, VariableInfo]:
    """id of each variable -> its record, the published ones first.

    Args:
        variables: The variables.
        is_reached: Whether a gradient reaches a variable.
    """
    trainable = {id(v) for v in variables.trainable}
    published = {id(v) for v in variables.published}
    return {
        id(v): VariableInfo(
            name=name_of(v),
            shape=None if v.shape.rank is None else tuple(v.shape.as_list()),
            dtype=v.dtype.name,
            trainable=id(v) in trainable,
            published=id(v) in published,
            gradient=is_reached(v),
        )
        for v in (*variables.published, *variables.captured)
    }


def group_infos(
    infos: dict[int, VariableInfo], variables: Variables, functions: Iterable[Function]
) -> tuple[GroupInfo, ...]:
    """The groups of the variables, from the input to the output.

    Args:
        infos: id of each variable -> its record.
        variables: The variables.
        functions: Those whose traces say in which order they are used.
    """
    traces = [trace for function in functions for trace in function.traces]
    ordered = variable_groups.in_order_of_use((*variables.published, *variables.captured), traces)
    groups = variable_groups.partition([name_of(v) for v in ordered])
    return tuple(_group_info(name, [infos[id(ordered[i])] for i in places]) for name, places in groups.items())


def _group_info(name: str, members: Sequence[VariableInfo]) -> GroupInfo:
    trainable = sum(v.parameters for v in members if v.trainable and v.gradient)
    return GroupInfo(**group_fields(name, members), trainable=trainable)


def group_fields(name: str, members: Sequence[VariableInfo]) -> dict[str, Any]:
    """The fields that a `GroupInfo` with these members and a `finetuning.Group` have in common."""
    return {
        "name": name,
        "variables": tuple(v.name for v in members),
        "tunable": tuple(v.name for v in members if v.trainable),
        "parameters": sum(v.parameters for v in members),
        "size": sum(v.size for v in members),
    }


def extent(infos: Iterable[VariableInfo]) -> Extent:
    """How much some variables are together."""
    several = list(infos)
    return Extent(len(several), sum(v.parameters for v in several), sum(v.size for v in several))
