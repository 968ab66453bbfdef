"""Run the notebooks, each in a fresh kernel and in a directory of its own, and say how long each took.

    python notebooks/run.py                       all of them
    python notebooks/run.py 03_share_a_piece      one
    python notebooks/run.py --save                and keep the outputs in the files

Exits with 1 if a cell fails, if one writes to stderr, or if an output names a path of this machine.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
LIMIT = 300  # seconds for one cell
# What TensorFlow writes when it starts, whatever its log level.
START_UP = re.compile(
    r"WARNING: All log messages before absl|[IWE]0000 |\d{4}-\d\d-\d\d .*: [IWE] \w+/|To enable the following"
)


def run(path, directory):
    """Execute a notebook in a directory, beside copies of the helper modules; the notebook, with its new outputs."""
    notebook = nbformat.read(path, as_version=4)
    for module in HERE.glob("*.py"):
        shutil.copy(module, directory)
    client = NotebookClient(
        notebook,
        timeout=LIMIT,
        kernel_name="python3",
        resources={"metadata": {"path": str(directory)}},
        coalesce_streams=True,  # of a progress bar only the last state stays
        record_timing=False,
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.clear()
            cell.outputs = [output for output in map(_tidied, cell.outputs) if output is not None]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def _tidied(output):
    """An output without TensorFlow's greeting; `None` if nothing is left."""
    if output.output_type == "stream" and output.name == "stderr":
        output.text = "".join(line for line in output.text.splitlines(keepends=True) if not START_UP.match(line))
        return output if output.text.strip() else None
    return output


def complaints(notebook, private):
    """What is wrong with the outputs: lines on stderr, and paths of this machine."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            texts = [output.get("text", ""), *map(str, output.get("data", {}).values())]
            if output.get("name") == "stderr":
                yield f"cell {number} writes to stderr: {output.text.strip()}"
            for path in private:
                if any(path in text for text in texts):
                    yield f"cell {number} shows {path}"


def _settings(directory):
    """The kernel's environment: a CPU, no settings of the user's, nothing written outside of the directory."""
    for name in [name for name in os.environ if name.startswith(("KERAS_HUB_LAYERS_", "TFHUB_"))]:
        del os.environ[name]
    os.environ.update(
        CUDA_VISIBLE_DEVICES="-1",
        TF_CPP_MIN_LOG_LEVEL="3",
        KERAS_HUB_LAYERS_CACHE=os.path.join(directory, "cache"),
        IPYTHONDIR=os.path.join(directory, "ipython"),
        MPLCONFIGDIR=os.path.join(directory, "matplotlib"),
        TMPDIR=str(directory),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names or paths of notebooks (all)")
    parser.add_argument("--save", action="store_true", help="keep the outputs in the files")
    chosen = parser.parse_args()
    paths = [HERE / f"{Path(name).stem}.ipynb" if not Path(name).is_file() else Path(name) for name in chosen.names]
    failed = False
    for path in paths or sorted(HERE.glob("*.ipynb")):
        with tempfile.TemporaryDirectory(prefix="notebook_") as directory:
            _settings(directory)
            started = time.perf_counter()
            try:
                notebook = run(path, directory)
                wrong = list(complaints(notebook, (directory, sys.prefix)))
            except CellExecutionError as error:
                notebook, wrong = None, [str(error)]
            print(f"{path.name}: {time.perf_counter() - started:.0f} s", flush=True)
        for complaint in wrong:
            print(f"{path.name}: {complaint}", file=sys.stderr)
        failed = failed or bool(wrong)
        if chosen.save and not wrong:
            nbformat.write(notebook, path)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
