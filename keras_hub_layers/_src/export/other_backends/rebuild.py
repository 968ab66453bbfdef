"""The process that makes a model again on TensorFlow and exports it."""

import dataclasses
import json
import sys
import warnings
from typing import Any

import keras


def answer() -> None:
    """Read a request from the standard input, export the model, and write what the model card says, as JSON."""
    from keras_hub_layers._src.export import export as export_lib

    request: dict[str, Any] = json.load(sys.stdin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other process warns
        try:
            # The file was written by the other process, from a model that is in use there.
            model: Any = keras.saving.load_model(request["model"], compile=False, safe_mode=False)
            options = {"trainable": request["trainable"], "assets": request["assets"]}
            made = export_lib.make_export(model, **options)
            export_lib.write_export(made, request["directory"])
            reply = dataclasses.asdict(made.facts(request["directory"]))
        except Exception as err:
            reply = {"error": f"{type(err).__name__}: {' '.join(str(err).split())[:400]}"}
    sys.stdout.write(f"\n{json.dumps(reply)}\n")
    sys.stdout.flush()
