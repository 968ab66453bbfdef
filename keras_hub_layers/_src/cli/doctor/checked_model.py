"""What the steps of `doctor HANDLE` hand on from one to the next."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_hub_layers._src.cli.doctor.finding import Finding
from keras_hub_layers._src.resolve import handles


@dataclass
class CheckedModel:
    """What the steps find out about a model: each fills in what the next ones need."""

    handle: str
    input_texts: Sequence[str]
    tags: Sequence[str] | None = None
    directory: str = ""
    interface: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    layer: Any = None
    inputs: Any = None

    @property
    def display(self) -> str:
        """The handle, without password."""
        return handles.display(self.handle)

    @property
    def command_line(self) -> str:
        """What names the model on the command line."""
        tags = "" if self.tags is None else f" --tags {shlex.quote(','.join(self.tags))}"
        return shlex.quote(self.display) + tags


Step = tuple[str, Callable[[CheckedModel], Iterator[Finding]]]  # topic and function
