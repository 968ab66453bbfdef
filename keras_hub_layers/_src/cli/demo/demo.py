"""The main job from start to end, on real data: pretrain, export, load by URL, fine-tune, export again, reload."""

import os
import tempfile
import time
from typing import Any

import keras
import numpy as np

from keras_hub_layers._src.cli.demo import comparison, digits, networks, new_process, settings, work_directory
from keras_hub_layers._src.cli.demo.digits import Examples
from keras_hub_layers._src.cli.demo.report import Report
from keras_hub_layers._src.executors import registry
from keras_hub_layers._src.export.export import export
from keras_hub_layers._src.files import destinations
from keras_hub_layers._src.publish import server


def demo(directory: str) -> int:
    """Run the demo.

    Args:
        directory: Where it works; made if absent. The fine-tuned SavedModel stays in `directory/export`, the one
            that it was made from in `directory/models/digits/1`.

    Returns:
        0 if everything that it claims was found to be true, else 1.

    Raises:
        errors.HubError: A step failed.
    """
    started = time.perf_counter()
    registry.executor_class()  # raises, before anything is written, where none can run
    directory = os.path.expanduser(directory)
    source, tuned = os.path.join(directory, "models", "digits", "1"), os.path.join(directory, "export")
    work_directory.make(directory)
    for destination in (source, tuned):
        destinations.check_replaceable(destination)
    report = Report()
    old, new = digits.load(settings.OLD)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".work_") as work, work_directory.own_settings(work):
        encoder = _pretrain(report, old)
        report.step("Export the headless piece as a Reusable SavedModel")
        export(encoder, source)
        report.say(f"{source}, {work_directory.size_of(source)}: without the classifier and the optimizer")
        with server.serve_in_thread(os.path.join(directory, "models")) as base:
            run = comparison.compare(report, f"{base}/digits/1", encoder, new, tuned)
        new_process.reload(report, run, source, tuned, work)
    report.line(f"\nDone in {time.perf_counter() - started:.0f} s.")
    if report.failed:
        report.line("Not everything is as it should be: " + "; ".join(report.failed) + ".", "bold red")
        return 1
    report.line("The export is yours. With these lines the new process used it:\n", "bold")
    report.line(new_process.example(tuned) + "\n")
    return 0


def _pretrain(report: Report, old: Examples) -> Any:
    """An encoder that can tell the old digits apart."""
    report.step(f"Pretrain a small convolutional network in Keras, on the handwritten digits 0 to {settings.OLD - 1}")
    keras.utils.set_random_seed(0)
    order = np.random.default_rng(0).permutation(len(old))
    train, held_out = old.at(order[len(old) // 5 :]), old.at(order[: len(old) // 5])
    images = np.concatenate([train.images, *(digits.shift(train.images, seed) for seed in range(3))])
    encoder = networks.make_encoder()
    model = networks.make_classifier(encoder, settings.OLD, 2e-3)
    examples = Examples(images, np.tile(train.labels, 4))
    with report.progress("pretraining", settings.PRETRAINING) as advance:
        networks.fit(model, examples, settings.PRETRAINING, advance, batch_size=64)
    accuracy = networks.accuracy(model, held_out)
    report.say(f"{len(train)} labelled images; accuracy on {len(held_out)} others: {accuracy:.1%}")
    return encoder
