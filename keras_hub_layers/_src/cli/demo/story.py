"""The steps of the demo."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.callbacks import export_finetuned
from keras_hub_layers._src.cli.demo import digits, places
from keras_hub_layers._src.cli.demo.digits import Examples
from keras_hub_layers._src.cli.demo.report import Report
from keras_hub_layers._src.executors import registry
from keras_hub_layers._src.export import export as export_lib
from keras_hub_layers._src.files import atomic
from keras_hub_layers._src.layers import hub_layer
from keras_hub_layers._src.publish import server
from keras_hub_layers.errors import LoadError

__all__ = ["run", "start_tensorflow"]


OLD = 7  # the digits 0 to 6 are for pretraining, 7 to 9 for fine-tuning


NEW = 10 - OLD


PER_CLASS = 5  # labelled examples of each new digit


PRETRAINING = 8  # epochs


EPOCHS = 12  # of the frozen stage, and as many of the fine-tuning; from scratch gets both


SEEDS = (0, 1, 2)


TOLERANCE = 1e-5  # between logits, or features, that come from the same weights


# What the demo ends with; the new process runs just that before its results are compared.
CODE = """\
import keras
from keras_hub_layers import layers

encoder = layers.HubLayer({export}, trainable=True)
model = keras.Sequential([encoder, keras.layers.Dense({classes})])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))"""


RELOAD = """\
import sys
import numpy as np

given = np.load(sys.argv[1])
{code}
model.build(given["images"].shape)
model.layers[-1].set_weights([given["kernel"], given["bias"]])
logits = model.predict(given["images"], verbose=0)
losses = [float(loss) for loss in encoder.losses]
before = [np.array(weight) for weight in encoder.trainable_weights]
model.fit(given["few_images"], given["few_labels"], epochs=1, verbose=0)
moved = sum(not np.array_equal(old, new) for old, new in zip(before, encoder.trainable_weights))
np.savez(sys.argv[2], logits=logits, losses=losses, trainable=len(before), moved=moved)
"""


def start_tensorflow() -> None:
    """Have it find its devices."""
    keras.ops.zeros(())


def run(directory: str) -> int:
    """Tell the story in a directory; 0 if everything is true, else 1."""
    started = time.perf_counter()
    registry.executor_class()  # raises, before anything is written, where none can run
    source, export = os.path.join(directory, "models", "digits", "1"), os.path.join(directory, "export")
    places.make(directory)
    for destination in (source, export):
        atomic.check_replaceable(destination)
    report = Report()
    old, new = digits.load(OLD)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".work_") as work, places.own_settings(work):
        encoder = _pretrain(report, old)
        report.step("Export the headless piece as a Reusable SavedModel")
        export_lib.export(encoder, source)
        report.say(f"{source}, {places.size_of(source)}: without the classifier and the optimizer")
        with server.running(os.path.join(directory, "models")) as base:
            tuned = _compare(report, f"{base}/digits/1", encoder, new, export)
        _reload(report, tuned, source, export, work)
    report.line(f"\nDone in {time.perf_counter() - started:.0f} s.")
    if report.failed:
        report.line("Not everything is as it should be: " + "; ".join(report.failed) + ".", "bold red")
        return 1
    report.line("The export is yours. With these lines the new process used it:\n", "bold")
    report.line(_code(export) + "\n")
    return 0


# -- pretrain --------------------------------------------------------------------------------------------------------


def _pretrain(report: Report, old: Examples) -> Any:
    """An encoder that can tell the old digits apart."""
    report.step(f"Pretrain a small convolutional network in Keras, on the handwritten digits 0 to {OLD - 1}")
    keras.utils.set_random_seed(0)
    order = np.random.default_rng(0).permutation(len(old))
    train, held_out = old.at(order[len(old) // 5 :]), old.at(order[: len(old) // 5])
    images = np.concatenate([train.images, *(digits.moved(train.images, seed) for seed in range(3))])
    encoder = _encoder()
    model = _classifier(encoder, OLD, 2e-3)
    with report.progress("pretraining", PRETRAINING) as advance:
        _fit(model, Examples(images, np.tile(train.labels, 4)), PRETRAINING, advance, batch_size=64)
    report.say(f"{len(train)} labelled images; accuracy on {len(held_out)} others: {_accuracy(model, held_out):.1%}")
    return encoder


def _encoder() -> Any:
    """(None, 8, 8, 1) to features (None, 256), with all that fine-tuning has to get right."""
    x = inputs = keras.Input((8, 8, 1), name="image")
    for filters in (32, 64):
        for _ in range(2):
            l2 = keras.regularizers.L2(1e-4)
            x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_regularizer=l2)(x)
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Dropout(0.2)(x)
    return keras.Model(inputs, keras.layers.Flatten()(x), name="encoder")


def _classifier(encoder: Any, classes: int, rate: float) -> Any:
    return _compiled(keras.Sequential([keras.Input((8, 8, 1)), encoder, keras.layers.Dense(classes)]), rate)


def _compiled(model: Any, rate: float) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def _fit(
    model: Any, examples: Examples, epochs: int, advance: Callable[[], None], batch_size: int = 5, then: Any = None
) -> None:
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: advance())
    model.fit(
        examples.images,
        examples.labels,
        batch_size=batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[watch] if then is None else [watch, then],
    )


# -- fine-tune -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Run:
    """One run: its model, its examples, what the layer's weights were when it was loaded, and the accuracies."""

    model: Any
    few: Examples
    held_out: Examples
    loaded: list[np.ndarray]
    stayed: bool
    accuracies: tuple[float, float, float]


def _compare(report: Report, url: str, encoder: Any, new: Examples, export: str) -> _Run:
    """Frozen, fine-tuned and from scratch, on the same few examples; the last fine-tuning is exported."""
    report.step(f"Load it by URL, train a head for the digits {OLD} to 9, then fine-tune")
    layer = hub_layer.HubLayer(url)
    info = layer.interface
    report.say(
        f'HubLayer("{url}"): {len(info.variables)} variables, {sum(v.trainable for v in info.variables)} of them '
        f"trainable, {info.regularization_losses} regularization losses"
    )
    difference = _difference(encoder(new.images, training=False), layer(new.images))
    report.check("it computes what was exported", difference <= TOLERANCE, f"max abs difference {difference:.1e}")
    count = PER_CLASS * NEW
    report.say(f"{len(SEEDS)} runs with {count} labelled images each; accuracy on the {len(new) - count} others:")
    runs = []
    with report.progress("frozen, fine-tuned, from scratch", 4 * EPOCHS * len(SEEDS)) as advance:
        for seed in SEEDS:
            then = export_finetuned.ExportFinetuned(export, verbose=0) if seed == SEEDS[-1] else None
            runs.append(_one_run(url, new, seed, advance, then))
            frozen, tuned, scratch = runs[-1].accuracies
            report.say(f"run {len(runs)}: frozen {frozen:.1%}, fine-tuned {tuned:.1%}, from scratch {scratch:.1%}")
    _table(report, list(zip(*(run.accuracies for run in runs), strict=True)))
    stayed = all(run.stayed for run in runs)
    report.check("a frozen layer stays as it is", stayed, f"all {len(layer.weights)} weights bit-identical after fit")
    return runs[-1]


def _one_run(url: str, new: Examples, seed: int, advance: Callable[[], None], then: Any) -> _Run:
    few, held_out = digits.few_and_others(new, PER_CLASS, seed)
    keras.utils.set_random_seed(seed)
    layer = hub_layer.HubLayer(url)
    loaded = _values(layer.weights)
    model = _classifier(layer, NEW, 5e-3)
    _fit(model, few, EPOCHS, advance)
    frozen = _accuracy(model, held_out)
    stayed = all(map(np.array_equal, loaded, _values(layer.weights)))

    layer.trainable = True
    _fit(_compiled(model, 1e-3), few, EPOCHS, advance, then=then)
    tuned = _accuracy(model, held_out)

    keras.utils.set_random_seed(seed)
    scratch = _classifier(_encoder(), NEW, 3e-3)
    _fit(scratch, few, 2 * EPOCHS, advance)
    return _Run(model, few, held_out, loaded, stayed, (frozen, tuned, _accuracy(scratch, held_out)))


def _table(report: Report, columns: list[tuple[float, ...]]) -> None:
    names = (
        ("frozen", "the head", f"{EPOCHS}"),
        ("fine-tuned", "the head, then all", f"{EPOCHS} + {EPOCHS}"),
        ("from scratch", "all", f"{2 * EPOCHS}"),
    )
    means = [float(np.mean(values)) for values in columns]
    report.table(
        ("", "trained weights", "epochs", "mean accuracy", "range"),
        [
            (*name, f"{mean:.1%}", f"{min(values):.1%} – {max(values):.1%}")
            for name, mean, values in zip(names, means, columns, strict=True)
        ],
    )
    frozen, tuned, scratch = (100 * mean for mean in means)
    report.say(f"fine-tuned − frozen: {tuned - frozen:+.1f} points; fine-tuned − from scratch: {tuned - scratch:+.1f}")


# -- reload ----------------------------------------------------------------------------------------------------------


def _reload(report: Report, run: _Run, source: str, export: str, work: str) -> None:
    """Compare the export, in a new process, with the model that lives in this one."""
    report.step("Reload the export in a new process")
    report.say(
        f"{export}, {places.size_of(export)}: callbacks.ExportFinetuned wrote it at the end of the last fine-tuning fit"
    )
    layer, head = run.model.layers
    kernel, bias = head.get_weights()
    there = _in_a_new_process(
        export,
        work,
        images=run.held_out.images,
        few_images=run.few.images,
        few_labels=run.few.labels,
        kernel=kernel,
        bias=bias,
    )
    difference = _difference(run.model.predict(run.held_out.images, verbose=0), there["logits"])
    claim = f"its predictions for {len(run.held_out)} images are those of the fine-tuned model"
    report.check(claim, difference <= TOLERANCE, f"max abs difference {difference:.1e}")
    distances = [
        _difference(new, old)
        for weight, new, old in zip(layer.weights, _values(layer.weights), run.loaded, strict=True)
        if weight.trainable
    ]
    tuned = sum(distance > 0 for distance in distances)
    figures = f"{tuned} of {len(distances)} trainable weights differ from the source's, by up to {max(distances):.3f}"
    report.check("it was tuned", tuned == len(distances) == int(there["trainable"]), figures)
    here, losses = [float(loss) for loss in layer.losses], there["losses"].tolist()
    came = len(here) == len(losses) > 0 and np.allclose(here, losses, rtol=TOLERANCE, atol=0)
    figures = f"{len(losses)} with the sum {sum(losses):.6f} there, {len(here)} with the sum {sum(here):.6f} here"
    report.check("the regularization losses came along", bool(came), figures)
    figures = f"{int(there['moved'])} of {len(distances)} trainable weights moved in one more fit"
    report.check("it can be fine-tuned again", int(there["moved"]) == len(distances), figures)
    graphs = [places.bytes_of(os.path.join(folder, "saved_model.pb")) for folder in (source, export)]
    figures = f"saved_model.pb, {len(graphs[1]) / 1000:.0f} kB, byte by byte"
    report.check("its graph is that of its source", graphs[0] == graphs[1], figures)


def _in_a_new_process(export: str, work: str, **arrays: Any) -> Any:
    """What the new process computed, arrays by name."""
    given, made = os.path.join(work, "given.npz"), os.path.join(work, "made.npz")
    np.savez(given, **arrays)
    code = RELOAD.format(code=_code(export))
    done = subprocess.run([sys.executable, "-c", code, given, made], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(
            "The export could not be used in a new process.",
            expected="exit code 0",
            received=f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}",
            where=export,
            fix=f"see what it offers: keras-hub-layers inspect {export}",
        )
    return np.load(made)


def _code(export: str) -> str:
    return CODE.format(export=json.dumps(export, ensure_ascii=False), classes=NEW)


# -- small things ----------------------------------------------------------------------------------------------------


def _accuracy(model: Any, examples: Examples) -> float:
    return float(model.evaluate(examples.images, examples.labels, verbose=0, return_dict=True)["accuracy"])


def _values(weights: Any) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in weights]


def _difference(first: Any, second: Any) -> float:
    return float(np.max(np.abs(np.asarray(first) - np.asarray(second))))
