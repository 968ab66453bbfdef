"""The middle of the demo: frozen, fine-tuned and from scratch, compared on the same few examples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.callbacks.export_finetuned import ExportFinetuned
from keras_hub_layers._src.cli.demo import digits, networks, settings
from keras_hub_layers._src.cli.demo.digits import Examples
from keras_hub_layers._src.cli.demo.report import Report
from keras_hub_layers._src.layers.hub_layer import HubLayer


@dataclass(frozen=True, eq=False)
class Run:
    """The result of one run.

    Attributes:
        model: The fine-tuned model.
        few: The examples that it was trained on.
        held_out: The others.
        loaded: The values of the layer's weights when it was loaded.
        stayed: Whether they were the same after the frozen stage.
        accuracies: On the held-out examples: frozen, fine-tuned, from scratch.
    """

    model: Any
    few: Examples
    held_out: Examples
    loaded: list[np.ndarray]
    stayed: bool
    accuracies: tuple[float, float, float]


def compare(report: Report, url: str, encoder: Any, new: Examples, export: str) -> Run:
    """Run the comparison once per seed; export the last fine-tuned layer, and return its run."""
    report.step(f"Load it by URL, train a head for the digits {settings.OLD} to 9, then fine-tune")
    layer = HubLayer(url)
    interface = layer.interface
    trainable = sum(variable.trainable for variable in interface.variables)
    report.say(
        f'HubLayer("{url}"): {len(interface.variables)} variables, {trainable} of them trainable, '
        f"{interface.regularization_losses} regularization losses"
    )
    difference = networks.difference(encoder(new.images, training=False), layer(new.images))
    report.check(
        "it computes what was exported", difference <= settings.TOLERANCE, f"max abs difference {difference:.1e}"
    )
    count, seeds = settings.PER_CLASS * settings.NEW, settings.SEEDS
    report.say(f"{len(seeds)} runs with {count} labelled images each; accuracy on the {len(new) - count} others:")
    runs = []
    with report.progress("frozen, fine-tuned, from scratch", 4 * settings.EPOCHS * len(seeds)) as advance:
        for seed in seeds:
            callback = ExportFinetuned(export, verbose=0) if seed == seeds[-1] else None
            runs.append(_run(url, new, seed, advance, callback))
            frozen, tuned, scratch = runs[-1].accuracies
            report.say(f"run {len(runs)}: frozen {frozen:.1%}, fine-tuned {tuned:.1%}, from scratch {scratch:.1%}")
    _report_accuracies(report, list(zip(*(run.accuracies for run in runs), strict=True)))
    stayed = all(run.stayed for run in runs)
    report.check("a frozen layer stays as it is", stayed, f"all {len(layer.weights)} weights bit-identical after fit")
    return runs[-1]


def _run(url: str, new: Examples, seed: int, advance: Callable[[], None], callback: Any) -> Run:
    few, held_out = digits.split_off_few(new, settings.PER_CLASS, seed)
    keras.utils.set_random_seed(seed)
    layer = HubLayer(url)
    loaded = networks.values(layer.weights)
    model = networks.make_classifier(layer, settings.NEW, 5e-3)
    networks.fit(model, few, settings.EPOCHS, advance)
    frozen = networks.accuracy(model, held_out)
    stayed = all(map(np.array_equal, loaded, networks.values(layer.weights)))

    layer.trainable = True
    networks.compile_classifier(model, 1e-3)
    networks.fit(model, few, settings.EPOCHS, advance, callback=callback)
    tuned = networks.accuracy(model, held_out)

    keras.utils.set_random_seed(seed)
    scratch = networks.make_classifier(networks.make_encoder(), settings.NEW, 3e-3)
    networks.fit(scratch, few, 2 * settings.EPOCHS, advance)
    return Run(model, few, held_out, loaded, stayed, (frozen, tuned, networks.accuracy(scratch, held_out)))


def _report_accuracies(report: Report, columns: list[tuple[float, ...]]) -> None:
    """A table of the runs' accuracies: one column of them per way of training."""
    epochs = settings.EPOCHS
    names = (
        ("frozen", "the head", f"{epochs}"),
        ("fine-tuned", "the head, then all", f"{epochs} + {epochs}"),
        ("from scratch", "all", f"{2 * epochs}"),
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
