"""A backend of NVIDIA's Triton server: each version of a model is a SavedModel, as an export is one.

`servers.start` copies it to where the server looks for it.
"""

import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
import c_loader
import triton_python_backend_utils as triton  # part of the server


class TritonPythonModel:
    """One version of a model. The server knows the class by this name."""

    def initialize(self, arguments):
        folder = os.path.join(arguments["model_repository"], arguments["model_version"])
        self.model = c_loader.LoadedModel(folder)

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        outputs = self.model.run({tensor.name(): tensor.as_numpy() for tensor in request.inputs()})
        return triton.InferenceResponse(
            [triton.Tensor(name, np.ascontiguousarray(array)) for name, array in outputs.items()]
        )
