"""Every arm of a search, tried on one batch before the search: KerasTuner counts a crash as a bad score."""

import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_hub_layers._src.finetuning.data_loss import DataLoss
from keras_hub_layers._src.layers import access
from keras_hub_layers._src.public import public
from keras_hub_layers._src.text.progress import progress, silence
from keras_hub_layers._src.text.words import nearest
from keras_hub_layers._src.tuners.trial_model import free_memory
from keras_hub_layers.errors import MissingPackageError, TrainingError, warn

__all__ = ["PreflightError", "brief", "checkpoints_of", "keras_tuner", "objective_of", "preflight"]


try:
    import keras_tuner
except ImportError as err:
    raise MissingPackageError(
        "Searching needs KerasTuner.",
        expected="the package keras-tuner",
        received=f"{type(err).__name__}: {err}",
        where="keras_hub_layers.tuners",
        fix='pip install "keras-hub-layers[tuner]"',
    ) from err


_MOST = 16  # combinations of a hypermodel that does not name its arms


Arm = dict[str, Any]


@public("tuners")
class PreflightError(TrainingError, keras_tuner.errors.FatalError):
    """An arm of a search cannot be trained; KerasTuner would have counted it as a bad score."""


@public("tuners")
def preflight(hypermodel: Any, x: Any, y: Any = None, *, objective: Any = None, **kwargs: Any) -> None:
    """Train every arm of a search on one batch, and report those that fail.

    KerasTuner counts a crash as a bad score. If every fine-tuned trial of a search crashes, the search recommends the
    frozen model.

    The arms of a `HubHyperModel` are its SavedModels, frozen and tuned, at each depth; those of another hypermodel
    the combinations of its `Choice`s and `Boolean`s, up to sixteen. Values that occur in none of them, such as those of
    a head, are tried once each. Numbers keep their defaults.

    Args:
        hypermodel: A `HubHyperModel` or any `keras_tuner.HyperModel`. One with a method `arms()`, which yields dicts of
            hyperparameters' values, names its arms itself.
        x: As `fit` takes it: arrays, or a dataset of batches.
        y: Likewise. Defaults to `None`.
        objective: The tuner's objective, `tuner.oracle.objective`, which must be among what `fit` reports. Defaults to
            `None`: not checked. Each trial reports `data_loss` too (`callbacks.DataLoss`).
        **kwargs: Further arguments of `fit`: `sample_weight` and `class_weight` are used as `fit` uses them;
            `validation_data` and `validation_split` say that there are values of validation, and `callbacks` of one's
            own that there may be others. The rest is not used.

    Raises:
        PreflightError: At least one arm cannot be built or trained, or has a loss that is not finite: names each, with
            its error; or the objective is not among what `fit` reports.
    """
    batch = _first_batch({"x": x, "y": y, "sample_weight": kwargs.get("sample_weight")})
    if kwargs.get("class_weight"):
        batch["class_weight"] = kwargs["class_weight"]
    failed, worked = [], []
    reported: set[str] = set()
    counted: set[frozenset[str]] = set()
    with silence(kwargs.get("verbose") == 0), progress("trying each arm of the search on a batch", "arms") as advance:
        for arm, hp in _each(hypermodel):
            try:
                model = hypermodel.build(hp)
                counted.add(_models_whose_losses_count(model))
                reported |= _train_on(model, batch)
                worked.append({**arm, **_now(hp)})
            except Exception as err:
                failed.append(({**arm, **_now(hp)}, brief(f"{type(err).__name__}: {err}")))
            model = None
            free_memory()
            advance(len(worked) + len(failed), None)
    if failed:
        raise _broken_arms(failed, worked, hasattr(hypermodel, "arms"))
    if objective is not None and reported:
        _check_objective(objective, reported, kwargs)
        if len(counted) > 1:
            _warn_of_unlike_losses(objective)
    hypermodel.checked = True


def _train_on(model: Any, batch: dict[str, Any]) -> set[str]:
    """Train a model on a batch, and return the names of what `fit` reports. What is not compiled is not trained."""
    if not getattr(model, "compiled", False):  # a fit of the user's own compiles it
        return set()
    logs = model.fit(**batch, epochs=1, verbose=0, shuffle=False, callbacks=[DataLoss()]).history
    loss = float(logs["loss"][-1])
    if not math.isfinite(loss):
        raise ValueError(f"the loss of the first batch is {loss}: are there NaN in the data, or the weights?")
    return set(logs)


def _models_whose_losses_count(model: Any) -> frozenset[str]:
    """The SavedModels in a model whose regularization losses are part of its loss."""
    tuned = [layer for layer in access.hub_layers(model) if layer.trainable] if isinstance(model, keras.Model) else []
    return frozenset(str(layer.handle) for layer in tuned if access.has_losses(layer))


def _warn_of_unlike_losses(objective: Any) -> None:
    """Say so if the objective holds regularization of SavedModels in some arms and not, or other ones, in others."""
    names = [name for name in _names_of(objective) if name in ("loss", "val_loss")]
    if names:
        fair = "val_data_loss" if names[0] == "val_loss" else "data_loss"
        warn(
            f"The objective {names[0]!r} holds the regularization losses that a SavedModel publishes only in trials "
            "that train it, so it prefers frozen SavedModels, or those without such losses, whatever they predict. "
            "To compare all trials by the loss of the data:\n"
            f'keras_tuner.RandomSearch(hypermodel, keras_tuner.Objective("{fair}", "min"), max_trials=20)'
        )


def objective_of(callbacks: Sequence[Any]) -> Any:
    """The objective of the search that a trial belongs to, by the callbacks that its `fit` gets; `None` if unknown."""
    return next((callback.objective for callback in callbacks if hasattr(callback, "objective")), None)


def checkpoints_of(callbacks: Sequence[Any]) -> list[str]:
    """The files in which the search that a trial belongs to keeps its weights, likewise."""
    return [
        callback.filepath for callback in callbacks if hasattr(callback, "objective") and hasattr(callback, "filepath")
    ]


def brief(text: str) -> str:
    """An error text without the stack frames of TensorFlow's graphs and of Python."""
    lines = text.strip().splitlines()
    frames = [number for number, line in enumerate(lines) if re.match(r"\s*File \"|Traceback", line)]
    if frames:
        rest = lines[frames[-1] + 1 :]
        rest = rest[1:] if rest and rest[0].startswith("    ") else rest  # the line of code of that frame
        lines = rest if lines[0].startswith("Traceback") else [lines[0], *rest]
    lines = [line for line in lines if line.strip() and "[[{{node" not in line and not re.match(r"\s*[~^]+\s*$", line)]
    return "\n".join(lines)[:1500]


def _each(hypermodel: Any) -> Iterator[tuple[Arm, Any]]:
    """(values that make an arm another one, hyperparameters to build it with) of each arm.

    Which hyperparameters there are is known once a model was built, and may depend on the others: what an arm has
    registered after it was tried leads to the next ones.
    """
    named = list(hypermodel.arms()) if hasattr(hypermodel, "arms") else []
    queue: deque[Arm] = deque(named or [{}])
    done: set[frozenset[Any]] = set()
    values = {item for arm in named for item in arm.items()}
    own = {name for arm in named for name in arm}
    known = keras_tuner.HyperParameters()
    while queue:
        arm = queue.popleft()
        hp = keras_tuner.HyperParameters()
        hp.values.update(arm)
        yield arm, hp
        known.merge(hp)
        now = _now(hp)
        done.add(frozenset(now.items()))
        values |= set(now.items())
        for name, value in [
            (choice, value) for choice in now if choice not in own for value in _choices(hp)[choice].values
        ]:
            other = _complete(known, {**now, name: value})
            key = frozenset(other.items())
            if key not in done and ((name, value) not in values or (not named and len(done) < _MOST)):
                done.add(key)
                values.add((name, value))
                queue.append(other)


def _choices(hp: Any) -> dict[str, Any]:
    """The `Choice`s and `Boolean`s that are active, by name."""
    return {
        choice.name: choice
        for choice in hp.space
        if type(choice).__name__ in ("Choice", "Boolean") and hp.is_active(choice)
    }


def _now(hp: Any) -> Arm:
    """Their values."""
    return {name: hp.values[name] for name in _choices(hp) if name in hp.values}


def _complete(known: Any, values: Arm) -> Arm:
    """All choices that are active where these are the values, as far as they are known; the others at their default."""
    hp = known.copy()
    hp.values = dict(values)
    for choice in known.space:  # a parent comes before those that hang on it
        if hp.is_active(choice):
            hp.values.setdefault(choice.name, choice.default)
    return _now(hp)


def _without(failed: Sequence[Arm], worked: Sequence[Arm], is_ours: bool) -> str:
    """What leaves the arms out that failed, if they have a value in common that no other arm has."""
    for name, value in failed[0].items():
        others = list(dict.fromkeys(arm[name] for arm in worked if name in arm))
        if others and value not in others and all(arm.get(name) == value for arm in failed):
            ours = {"hub": "candidates", "trainable": "trainable", "unfreeze": "depths"} if is_ours else {}
            if name in ours:
                return f"tuners.HubHyperModel(..., {ours[name]}={others!r})   # without {value!r}; or mend it"
            return f"hp.Choice({name!r}, {others!r})   # without {value!r}; or mend it"
    return "mend what the error names: at the defaults of all hyperparameters the model cannot be trained"


def _broken_arms(failed: Sequence[tuple[Arm, str]], worked: Sequence[Arm], is_ours: bool) -> PreflightError:
    return PreflightError(
        f"{len(failed)} of {len(failed) + len(worked)} arms of the search cannot be trained.",
        expected="arms that can be trained on a batch, since a search would count a crash as a bad score",
        received="\n".join(f"{arm}: {text}" for arm, text in failed),
        where="preflight, on the first batch",
        fix=_without([arm for arm, _ in failed], worked, is_ours),
    )


def _names_of(objective: Any) -> list[str]:
    """The names of an objective, or of each one of several."""
    return list(getattr(objective, "name_to_direction", None) or [objective.name])


def _check_objective(objective: Any, reported: set[str], kwargs: Any) -> None:
    """Refuse an objective that no epoch will report, unless callbacks of the user's own may add it to the logs."""
    validates = kwargs.get("validation_data") is not None or bool(kwargs.get("validation_split"))
    names = reported | ({f"val_{name}" for name in reported} if validates else set())
    missing = [name for name in _names_of(objective) if name not in names and name != "default_objective"]
    if not missing or any(map(_may_add_to_logs, kwargs.get("callbacks") or ())):
        return
    from_validation = not validates and missing[0].startswith("val_") and missing[0].removeprefix("val_") in reported
    raise PreflightError(
        "The objective of the search will not be among what fit reports.",
        expected=f"one of {sorted(names)}",
        received=f"{missing[0]!r}" + (", without validation data" if from_validation else ""),
        where="preflight, on the first batch",
        fix="tuners.search(tuner, x, y, epochs=5, validation_split=0.2)"
        if from_validation
        else f"keras_tuner.RandomSearch(hypermodel, {_objective_meant(missing[0], names)}, max_trials=20)",
    )


def _objective_meant(wanted: str, names: set[str]) -> str:
    """The code of the objective that is spelt like the one given, or else of one that compares all arms fairly."""
    near = nearest(wanted, sorted(names), 0.75)
    if near is not None:
        return repr(near)
    return f'keras_tuner.Objective("{"val_" * ("val_data_loss" in names)}data_loss", "min")'


def _may_add_to_logs(callback: Any) -> bool:
    """Whether a callback may add to the logs what its class says nothing of."""
    libraries = ("keras.", "keras_tuner.", "keras_hub_layers.")
    return isinstance(callback, keras.callbacks.LambdaCallback) or not type(callback).__module__.startswith(libraries)


def _first_batch(data: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `fit` with their first batch: the first 32 examples of arrays, as in `fit`."""
    x = data["x"]
    if hasattr(x, "cardinality"):
        return {"x": x.take(1)}
    if isinstance(x, keras.utils.PyDataset):
        return dict(zip(data, x[0], strict=False))
    if hasattr(x, "__iter__") and iter(x) is x:
        raise PreflightError(
            "The data can be read once only, so only the first trial would have data.",
            expected="arrays, or a dataset of batches",
            received=f"a {type(x).__name__}",
            where="preflight",
            fix="dataset = tf.data.Dataset.from_generator(make_generator, output_signature=specs)",
        )
    if not isinstance(x, (list, tuple, dict)) and not hasattr(x, "shape"):
        first: Any = next(iter(x))  # batches of another library
        return dict(zip(data, first if isinstance(first, (list, tuple)) else (first,), strict=False))
    given = {name: value for name, value in data.items() if value is not None}
    first = keras.tree.map_structure(lambda leaf: leaf[:32], given)
    return first
