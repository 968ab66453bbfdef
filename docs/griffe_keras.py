"""Reads what Keras' docstrings have and Google's have not, for the API pages (see mkdocs.yml)."""

import re
from typing import Any

import griffe


class KerasRegister(griffe.Extension):
    """Makes `Call arguments:` a section of parameters, and titles of `Example:` and `Reference:`."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = re.sub(
                r"^Call arguments:$",
                "Other Parameters: Call arguments:",
                obj.docstring.value,
                flags=re.M,
            )
            obj.docstring.value = re.sub(
                r"^(Examples?|References?):\n\n", r"**\1:**\n\n", text, flags=re.M
            )
