"""The words of the command line: commands, arguments and help, as an argparse parser. Nothing is run here."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from keras_hub_layers import __version__

Run = Callable[[argparse.Namespace], int]


_PROGRAM = "keras-hub-layers"


_ABOUT = """\
Use, fine-tune and share SavedModels in Keras 3.

A HANDLE names a SavedModel: a local directory or archive, the URL of a model on
TF Hub, Kaggle or any server, the URL of an archive, Kaggle's
owner/model/framework/variation, hf://owner/repo, or a path such as gs://b/m."""


_END = """\
where to begin:
  keras-hub-layers demo              see everything work, without a network
  keras-hub-layers inspect HANDLE    what a SavedModel takes, gives and trains
  keras-hub-layers doctor            when something fails

Exit codes: 0 all is well, 1 the work failed, 2 wrong usage.
Each command has more help: keras-hub-layers COMMAND --help"""


_HANDLE = "a path, URL or hub id"


_JSON = "for scripts: nothing but JSON on the standard output"


_TAGS = "which graph, where there are several"


# Command -> what it does, examples.
_HELP = {
    "inspect": (
        "show what a SavedModel offers: calls, signatures, variables, pieces",
        """\
The graph is read, not run: that is quick, and works where ops are missing.

examples:
  keras-hub-layers inspect ./my_saved_model
  keras-hub-layers inspect https://tfhub.dev/google/nnlm-en-dim50/2
  keras-hub-layers inspect ./my_saved_model --tags train,gpu
  keras-hub-layers inspect ./my_saved_model --json | jq .fine_tunable""",
    ),
    "doctor": (
        "find out why something does not work, and what to do",
        """\
Without a handle it looks at the installation: versions, backend, GPU, extras,
cache, network settings. With one it goes down the road, from parsing the handle
to the gradients of a sample call, says at which step it fails and why, and ends
with code to paste. Exit code 1 if it finds a problem.

examples:
  keras-hub-layers doctor
  keras-hub-layers doctor ./my_saved_model
  keras-hub-layers doctor ./my_saved_model --input 1,224,224,3:float32
  keras-hub-layers doctor ./my_saved_model --input images.npy
  keras-hub-layers doctor ./my_saved_model --input ids=1,128:int32 --input mask=1,128:int32""",
    ),
    "resolve": (
        "print the local directory of a handle, downloading it if need be",
        """\
The directory is all that is printed, so it can be used in scripts, and in the
build of a container to download ahead of time.

examples:
  keras-hub-layers resolve https://tfhub.dev/google/nnlm-en-dim50/2
  saved_model_cli show --all --dir "$(keras-hub-layers resolve HANDLE)"
  keras-hub-layers resolve https://example.com/encoder.tar.gz --sha256 9f86d08…""",
    ),
    "cache": (
        "list, verify or remove downloaded models",
        """\
The cache is at TFHUB_CACHE_DIR, else KERAS_HUB_LAYERS_CACHE, else in the user's
cache directory. Entries of tensorflow_hub are listed too.

examples:
  keras-hub-layers cache list
  keras-hub-layers cache verify
  keras-hub-layers cache remove https://tfhub.dev/google/nnlm-en-dim50/2""",
    ),
    "cache list": (
        "list what is in the cache, newest first",
        "examples:\n  keras-hub-layers cache list\n  keras-hub-layers cache list --json | jq -r '.entries[].path'",
    ),
    "cache verify": (
        "read every file and compare it with what was stored",
        "examples:\n  keras-hub-layers cache verify\n  keras-hub-layers cache verify HANDLE",
    ),
    "cache remove": (
        "delete a model from the cache",
        "examples:\n  keras-hub-layers cache remove https://tfhub.dev/google/nnlm-en-dim50/2",
    ),
    "pack": (
        "pack a SavedModel into one archive that any web server can offer",
        """\
The same files give the same bytes. It prints the SHA-256 to pin, and the path.

examples:
  keras-hub-layers pack ./my_saved_model encoder.tar.gz
  HubLayer("https://example.com/encoder.tar.gz", sha256="9f86d08…")   # in Python""",
    ),
    "publish": (
        "upload a SavedModel to Kaggle or Hugging Face",
        """\
It needs the extra [kaggle] or [hf], and your credentials as their clients do.

examples:
  keras-hub-layers publish ./my_saved_model hf://me/encoder --dry-run
  keras-hub-layers publish ./my_saved_model me/encoder/tensorFlow2/small --license "Apache 2.0\"""",
    ),
    "serve": (
        "offer every SavedModel below a directory over the hosting protocol",
        """\
It prints the base URL first, then one line per request. End it with Ctrl-C.

examples:
  keras-hub-layers serve ./models
  keras-hub-layers serve ./models --port 0 --host 0.0.0.0
  HubLayer("http://127.0.0.1:8000/encoder")   # in Python""",
    ),
    "demo": (
        "fine-tune, export and reload a small SavedModel, from start to end",
        """\
It needs no network. Exit code 0 only if everything that it claims is true.

examples:
  keras-hub-layers demo
  keras-hub-layers demo /tmp/my_demo""",
    ),
    "completion": (
        "print a script that completes commands, options and files in your shell",
        """\
It needs shtab: pip install "keras-hub-layers[completion]"

examples:
  keras-hub-layers completion bash > ~/.local/share/bash-completion/completions/keras-hub-layers
  keras-hub-layers completion zsh > ~/.zfunc/_keras-hub-layers   # a directory of fpath
  keras-hub-layers completion tcsh > ~/.keras-hub-layers.tcsh    # then source it in ~/.tcshrc""",
    ),
}


def parser(run: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser.

    Args:
        run: Name of each command, such as `"inspect"` or `"cache list"` -> the function that runs it.
    """
    main = argparse.ArgumentParser(prog=_PROGRAM, description=_ABOUT, epilog=_END, formatter_class=_Formatter)
    main.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = main.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, group: Any = commands) -> argparse.ArgumentParser:
        text, examples = _HELP[name]
        about = f"{text[0].upper()}{text[1:]}."
        one = group.add_parser(
            name.split()[-1], help=text, description=about, epilog=examples, formatter_class=_Formatter
        )
        if name in run:
            one.set_defaults(run=run[name], usage_error=one.error)
        return one

    inspect = add("inspect")
    inspect.add_argument("handle", metavar="HANDLE", help=_HANDLE)
    inspect.add_argument("--tags", type=_tags, metavar="TAG,TAG", help=_TAGS)
    inspect.add_argument("--json", action="store_true", help=_JSON)
    doctor = add("doctor")
    doctor.add_argument("handle", metavar="HANDLE", nargs="?", help=f"{_HANDLE} (none: the installation)")
    doctor.add_argument(
        "--input",
        metavar="[NAME=]INPUT",
        action="append",
        default=[],
        help="a sample input, SHAPE:DTYPE or a file.npy; several for a list, with names for a dict (made up)",
    )
    doctor.add_argument("--tags", type=_tags, metavar="TAG,TAG", help=_TAGS)
    doctor.add_argument("--json", action="store_true", help=_JSON)
    resolve = add("resolve")
    resolve.add_argument("handle", metavar="HANDLE", help=_HANDLE)
    resolve.add_argument("--sha256", metavar="H", help="SHA-256 that the archive must have")
    resolve.add_argument("--json", action="store_true", help=_JSON)

    kept = add("cache").add_subparsers(title="commands", required=True, metavar="COMMAND")
    listed = add("cache list", kept)
    listed.add_argument("--json", action="store_true", help=_JSON)
    verify = add("cache verify", kept)
    verify.add_argument("handle", metavar="HANDLE", nargs="?", help="only this model (all)")
    verify.add_argument("--json", action="store_true", help=_JSON)
    remove = add("cache remove", kept)
    remove.add_argument("handle", metavar="HANDLE", help="the handle, or the key that `list` shows")
    remove.add_argument("--json", action="store_true", help=_JSON)

    pack = add("pack")
    pack.add_argument("directory", metavar="DIRECTORY", help="it holds a SavedModel")
    pack.add_argument("archive", metavar="ARCHIVE", help="the .tar.gz to write")
    pack.add_argument("--json", action="store_true", help=_JSON)
    publish = add("publish")
    publish.add_argument("directory", metavar="DIRECTORY", help="it holds a SavedModel")
    publish.add_argument("handle", metavar="HANDLE", help="owner/model/framework/variation, or hf://owner/repo")
    publish.add_argument("--license", metavar="NAME", help="as Kaggle knows it")
    publish.add_argument("--notes", default="", metavar="TEXT", help="what is new")
    publish.add_argument("--public", action="store_true", help="create a repository that everybody sees")
    publish.add_argument("--dry-run", action="store_true", help="check everything, send nothing")
    publish.add_argument("--json", action="store_true", help=_JSON)
    serve = add("serve")
    serve.add_argument("directory", metavar="DIRECTORY", help="it holds SavedModels, at any depth")
    serve.add_argument("--port", type=int, default=8000, metavar="N", help="0 for a free one (%(default)s)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    demo = add("demo")
    demo.add_argument(
        "directory",
        metavar="DIRECTORY",
        nargs="?",
        default="keras_hub_layers_demo",
        help="where it works (%(default)s)",
    )
    completion = add("completion")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="for which shell")
    return main


def _tags(text: str) -> list[str]:
    """Tags from the command line; `""` for the graph that has none."""
    return [tag.strip() for tag in text.split(",") if tag.strip()]


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples; in 80 columns wherever it is printed, so that they stay readable."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, **{**kwargs, "max_help_position": 24, "width": 80})

    def add_argument(self, action: argparse.Action) -> None:
        """Make room for the names of commands: Python 3.11 to 3.14 forget that they are indented once more."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            longest = max(map(len, action.choices)) + self._current_indent + self._indent_increment
            self._action_max_length = max(self._action_max_length, longest)
