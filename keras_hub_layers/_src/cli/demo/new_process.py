"""The end of the demo: the export, loaded in a new process, is compared with the model of this one."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np

from keras_hub_layers._src.cli.demo import networks, settings, work_directory
from keras_hub_layers._src.cli.demo.comparison import Run
from keras_hub_layers._src.cli.demo.report import Report
from keras_hub_layers.errors import LoadError

# What the demo ends with; the new process runs just that before its results are compared.
_CODE = """\
import keras
from keras_hub_layers import layers

encoder = layers.HubLayer({export}, trainable=True)
model = keras.Sequential([encoder, keras.layers.Dense({classes})])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))"""

_SCRIPT = """\
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


def example(export: str) -> str:
    """The lines that use the export, to paste."""
    return _CODE.format(export=json.dumps(export, ensure_ascii=False), classes=settings.NEW)


def reload(report: Report, run: Run, source: str, export: str, work: str) -> None:
    """Load the export in a new process, and check what it computes there."""
    report.step("Reload the export in a new process")
    size = work_directory.size_of(export)
    report.say(f"{export}, {size}: callbacks.ExportFinetuned wrote it at the end of the last fine-tuning fit")
    layer, head = run.model.layers
    kernel, bias = head.get_weights()
    there = run_in_new_process(
        export,
        work,
        images=run.held_out.images,
        few_images=run.few.images,
        few_labels=run.few.labels,
        kernel=kernel,
        bias=bias,
    )
    tolerance = settings.TOLERANCE
    difference = networks.difference(run.model.predict(run.held_out.images, verbose=0), there["logits"])
    claim = f"its predictions for {len(run.held_out)} images are those of the fine-tuned model"
    report.check(claim, difference <= tolerance, f"max abs difference {difference:.1e}")
    distances = [
        networks.difference(new, old)
        for weight, new, old in zip(layer.weights, networks.values(layer.weights), run.loaded, strict=True)
        if weight.trainable
    ]
    tuned = sum(distance > 0 for distance in distances)
    figures = f"{tuned} of {len(distances)} trainable weights differ from the source's, by up to {max(distances):.3f}"
    report.check("it was tuned", tuned == len(distances) == int(there["trainable"]), figures)
    here, losses = [float(value) for value in networks.values(layer.losses)], there["losses"].tolist()
    came_along = len(here) == len(losses) > 0 and np.allclose(here, losses, rtol=tolerance, atol=0)
    figures = f"{len(losses)} with the sum {sum(losses):.6f} there, {len(here)} with the sum {sum(here):.6f} here"
    report.check("the regularization losses came along", bool(came_along), figures)
    figures = f"{int(there['moved'])} of {len(distances)} trainable weights moved in one more fit"
    report.check("it can be fine-tuned again", int(there["moved"]) == len(distances), figures)
    graphs = [work_directory.read(os.path.join(folder, "saved_model.pb")) for folder in (source, export)]
    figures = f"saved_model.pb, {len(graphs[1]) / 1000:.0f} kB, byte by byte"
    report.check("its graph is that of its source", graphs[0] == graphs[1], figures)


def run_in_new_process(export: str, work: str, **arrays: Any) -> Any:
    """What the new process computed, arrays by name."""
    given, made = os.path.join(work, "given.npz"), os.path.join(work, "made.npz")
    np.savez(given, **arrays)
    script = _SCRIPT.format(code=example(export))
    done = subprocess.run([sys.executable, "-c", script, given, made], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(
            "The export could not be used in a new process.",
            expected="exit code 0",
            received=f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}",
            where=export,
            fix=f"see what it offers: keras-hub-layers inspect {export}",
        )
    return np.load(made)
