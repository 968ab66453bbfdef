"""Which packages a SavedModel needs for its ops and types."""

from collections.abc import Iterable

from keras_hub_layers._src.compat import tensorflow as tensorflow_compat
from keras_hub_layers._src.inspect.records import Requirement
from keras_hub_layers._src.savedmodel.graphs import op_packages


def requirements(custom_ops: Iterable[str], custom_types: Iterable[str]) -> tuple[Requirement, ...]:
    """The packages that register ops and types which TensorFlow itself does not offer, as far as they are known."""
    needed: dict[op_packages.Package, tuple[list[str], list[str]]] = {}
    for op in custom_ops:
        package = op_packages.package_of(op)
        if package is not None:
            needed.setdefault(package, ([], []))[0].append(op)
    for name in custom_types:
        package = op_packages.package_of_type(name)
        if package is not None:
            needed.setdefault(package, ([], []))[1].append(name)
    return tuple(
        Requirement(
            package.pip, package.module, tuple(ops), package.advice(tensorflow_compat.installed_version()), tuple(types)
        )
        for package, (ops, types) in needed.items()
    )
