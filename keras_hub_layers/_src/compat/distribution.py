"""What Keras 3 lacks to train on several workers: private names of its trainer, with versions, reason and a test."""

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf
from keras.src import tree
from keras.src.backend.tensorflow import trainer

# Strategy -> what is called with the model before `fit` and `evaluate` build it; and the block in which each step runs.
_checks: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()
_blocks: weakref.WeakKeyDictionary[Any, Callable[[], AbstractContextManager[None]]] = weakref.WeakKeyDictionary()


def can_enable_fit() -> bool:
    """Whether Keras has the method that `enable_fit` overrides: Keras 3.8 to 3.15 do."""
    return hasattr(trainer.TensorFlowTrainer, "_maybe_symbolic_build")


def enable_fit(strategy: Any, check: Callable[[Any], None], block: Callable[[], AbstractContextManager[None]]) -> None:
    """Have `fit` and `evaluate` work for the models that are made in the scope of a strategy.

    Keras 3.8 to 3.15, keras#20585, tensorflow#72388. `TensorFlowTrainer._maybe_symbolic_build` learns the shapes of a
    batch from its mean over the replicas. `MultiWorkerMirroredStrategy` takes no mean of a tuple, and no strategy takes
    the mean of strings. Here the batch of one replica tells the shapes. The metrics of a step are scalars, and of those
    `reduce_per_replica` asks this strategy for the mean over axis 0, which they have not.

    Args:
        strategy: The strategy. Its method `reduce` is replaced by one that takes scalars.
        check: Is called with the model each time before `fit` or `evaluate` builds it.
        block: Makes the context manager in which each step of `fit`, `evaluate` and `predict` runs. Keras calls
            `train_function` and its like, which its public `make_train_function` sets.
    """
    if strategy not in _checks:
        _reduce_scalars(strategy)
    _checks[strategy], _blocks[strategy] = check, block
    for name in ("train_function", "test_function", "predict_function"):
        make = getattr(trainer.TensorFlowTrainer, f"make_{name}")
        if not hasattr(make, "of_keras"):
            setattr(trainer.TensorFlowTrainer, f"make_{name}", _make_in_block(make, name))
    build = trainer.TensorFlowTrainer._maybe_symbolic_build
    if not hasattr(build, "of_keras"):
        trainer.TensorFlowTrainer._maybe_symbolic_build = _build_from_one_replica(build)


def start_epoch(model: Any, initial_epoch: int) -> int:
    """The epoch that a training loop starts with, after `on_train_begin` of the callbacks.

    Keras 3.8 to 3.15: `BackupAndRestore` says where to go on by `Trainer._initial_epoch` alone.
    """
    return getattr(model, "_initial_epoch", None) or initial_epoch


def _build_from_one_replica(build: Callable[..., None]) -> Callable[..., None]:
    def _maybe_symbolic_build(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        strategy = self._distribute_strategy
        if strategy not in _checks:
            return build(self, iterator, data_batch)
        _checks[strategy](self)
        for *_, batches in iterator or ():  # pairs in Keras 3.8, triples in later ones
            data_batch = tree.map_structure(lambda value: _of_one_replica(strategy, value), next(batches))
            break
        return build(self, None, data_batch)

    _maybe_symbolic_build.of_keras = build  # pyright: ignore[reportFunctionMemberAccess]
    return _maybe_symbolic_build


def _make_in_block(make: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A method that makes the function of a step as Keras does, and has it run in the block of its strategy."""

    def make_function(self: Any, force: bool = False) -> Any:
        make(self, force)
        function = getattr(self, name)
        block = _blocks.get(self._distribute_strategy) if self._distribute_strategy is not None else None
        if block is None or function is None or hasattr(function, "of_keras"):
            return function

        def run(*arguments: Any) -> Any:
            with block():
                return function(*arguments)

        run.of_keras = function  # pyright: ignore[reportFunctionMemberAccess]
        setattr(self, name, run)
        return run

    make_function.of_keras = make  # pyright: ignore[reportFunctionMemberAccess]
    return make_function


def _of_one_replica(strategy: Any, value: Any) -> Any:
    value = strategy.experimental_local_results(value)[0]
    return None if isinstance(value, tf.experimental.Optional) else value  # how `None` passes through tf.data


def _reduce_scalars(strategy: Any) -> None:
    reduce = strategy.reduce

    def reduce_scalars_too(reduce_op: Any, value: Any, axis: Any) -> Any:
        if axis == 0 and not tf.nest.is_nested(value):
            shapes = [getattr(local, "shape", None) for local in strategy.experimental_local_results(value)]
            axis = None if all(shape is not None and shape.rank == 0 for shape in shapes) else axis
        return reduce(reduce_op, value, axis=axis)

    strategy.reduce = reduce_scalars_too
