"""Shows a notebook on a page: a line `!notebook NAME.ipynb` becomes its cells and outputs.

It is an extension of Python-Markdown, named in mkdocs.yml. The notebooks stay where the
tests run them, so a page and its notebook cannot differ.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

NOTEBOOKS = Path("notebooks")  # from the root of the project, where the site is built


class NotebookPages(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        # Before pymdownx.superfences (25), which takes the fences that are written here.
        md.preprocessors.register(_Notebooks(md), "notebook_pages", 33)


class _Notebooks(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        found: list[str] = []
        for line in lines:
            match = re.fullmatch(r"!notebook (\w+\.ipynb)", line)
            found += (
                _page(json.loads((NOTEBOOKS / match[1]).read_text("utf-8")))
                if match
                else [line]
            )
        return found


def _page(notebook: dict[str, Any]) -> Iterator[str]:
    """The lines of Markdown that show a notebook."""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        yield from [
            "",
            *(
                source.splitlines()
                if cell["cell_type"] == "markdown"
                else _fence("python", source)
            ),
            "",
        ]
        for output in cell.get("outputs", ()):
            yield from [*_output(output), ""]


def _output(output: dict[str, Any]) -> list[str]:
    picture = output.get("data", {}).get("image/png")
    if picture:
        data = "".join(picture).replace("\n", "")
        return [
            f'<img alt="The picture that the cell above draws" src="data:image/png;base64,{data}">'
        ]
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return _fence('text title="Output"', "".join(text))


def _fence(info: str, text: str) -> list[str]:
    """A fenced block; its fence is longer than each row of backticks in the text."""
    marks = "`" * max(3, *(len(row) + 1 for row in re.findall("`+", text) or [""]))
    return [f"{marks}{info}", *text.rstrip("\n").splitlines(), marks]


def makeExtension(**options: Any) -> NotebookPages:
    return NotebookPages(**options)
