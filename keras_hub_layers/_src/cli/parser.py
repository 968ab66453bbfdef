"""The words of the command line: its commands, their arguments and their help, as an argparse parser."""

import argparse
import re
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from keras_hub_layers import __version__
from keras_hub_layers._src.cli import commands, completion
from keras_hub_layers._src.cli.terminal import columns

Argument = tuple[str, dict[str, Any]]


class Command(NamedTuple):
    """One command: the function that runs it, its arguments, one line of help, what stands below the arguments, and
    its other names."""

    run: Callable[[argparse.Namespace], int] | None
    arguments: tuple[Argument, ...]
    help: str
    examples: str
    aliases: tuple[str, ...] = ()


def _argument(name: str, metavar: str | None, help: str, **options: Any) -> Argument:
    return name, {"metavar": metavar, "help": help, **options}


def _flag(name: str, help: str) -> Argument:
    return name, {"action": "store_true", "help": help}


def _tag_names(text: str) -> list[str]:
    """Tags from the command line; `""` for the graph that has none."""
    return [tag.strip() for tag in text.split(",") if tag.strip()]


_ABOUT = """\
Use, fine-tune and share SavedModels in Keras 3.

A HANDLE names a SavedModel: a local directory or archive, the URL of a model on
TF Hub, Kaggle or any server, the URL of an archive, Kaggle's
owner/model/framework/variation, hf://owner/repo, or a path such as gs://b/m."""


_END = """\
where to begin:
  keras-hub-layers demo              try everything, without a network
  keras-hub-layers inspect HANDLE    what a SavedModel takes, gives and trains
  keras-hub-layers doctor            find out why something fails

Exit codes: 0 all is well, 1 the work failed, 2 wrong usage.
Each command has more help: keras-hub-layers COMMAND --help"""


_HANDLE = _argument("handle", "HANDLE", "a path, URL or hub id")
_DIRECTORY = _argument("directory", "DIRECTORY", "it holds a SavedModel")
_TAGS = _argument("--tags", "TAG,TAG", "which graph, if there are several", type=_tag_names)
_JSON = _flag("--json", "for scripts: nothing but JSON on the standard output")
_INPUT = "a sample input, SHAPE:DTYPE or a file.npy; several for a list, with names for a dict (default: made up)"


COMMANDS = {
    "inspect": Command(
        commands.run_inspect,
        (_HANDLE, _TAGS, _JSON),
        "show what a SavedModel offers: calls, signatures, variables, pieces",
        """\
It reads the graph and does not run it. That is quick, and it works where ops
are missing.

examples:
  keras-hub-layers inspect ./my_saved_model
  keras-hub-layers inspect https://tfhub.dev/google/nnlm-en-dim50/2
  keras-hub-layers inspect ./my_saved_model --tags train,gpu
  keras-hub-layers inspect ./my_saved_model --json | jq .fine_tunable""",
    ),
    "doctor": Command(
        commands.run_doctor,
        (
            _argument("handle", "HANDLE", "a handle, or your script.py (none: the installation)", nargs="?"),
            _argument("--input", "[NAME=]INPUT", _INPUT, action="append", default=[]),
            _TAGS,
            _JSON,
        ),
        "find out why something does not work, and what to do",
        """\
Without a handle it checks the installation: versions, backend, GPU, extras,
cache, network settings. With a handle it tries each step, from parsing the
handle to the gradients of a sample call. It says which step fails and why, and
ends with code to paste. Of a script it checks each handle that it finds there;
it does not run the script. Exit code 1 if it finds a problem.

examples:
  keras-hub-layers doctor
  keras-hub-layers doctor ./my_saved_model
  keras-hub-layers doctor ./my_saved_model --input 1,224,224,3:float32
  keras-hub-layers doctor ./my_saved_model --input images.npy
  keras-hub-layers doctor train.py
  keras-hub-layers doctor ./my_saved_model --input ids=1,128:int32 --input mask=1,128:int32""",
    ),
    "resolve": Command(
        commands.run_resolve,
        (_HANDLE, _argument("--sha256", "H", "SHA-256 that the archive must have"), _JSON),
        "print the local directory of a handle; download the model if it is not there",
        """\
It prints the directory and nothing else. You can use it in scripts, and in the
build of a container to download a model before it is needed.

examples:
  keras-hub-layers resolve https://tfhub.dev/google/nnlm-en-dim50/2
  saved_model_cli show --all --dir "$(keras-hub-layers resolve HANDLE)"
  keras-hub-layers resolve https://example.com/encoder.tar.gz --sha256 9f86d08…""",
        ("download",),
    ),
    "cache": Command(
        None,
        (),
        "list, verify or remove downloaded models",
        """\
The cache is at TFHUB_CACHE_DIR, else KERAS_HUB_LAYERS_CACHE, else in the user's
cache directory. Entries of tensorflow_hub are listed too.

examples:
  keras-hub-layers cache list
  keras-hub-layers cache verify
  keras-hub-layers cache remove https://tfhub.dev/google/nnlm-en-dim50/2""",
    ),
    "cache list": Command(
        commands.run_cache_list,
        (_flag("--quiet", "nothing but the handles, one in each line"), _JSON),
        "list what is in the cache, newest first",
        "examples:\n  keras-hub-layers cache list\n  keras-hub-layers cache list --json | jq -r '.entries[].path'",
    ),
    "cache verify": Command(
        commands.run_cache_verify,
        (_argument("cached_handle", "HANDLE", "only this model (all)", nargs="?"), _JSON),
        "read every file and compare it with what was stored",
        "examples:\n  keras-hub-layers cache verify\n  keras-hub-layers cache verify HANDLE",
    ),
    "cache remove": Command(
        commands.run_cache_remove,
        (_argument("cached_handle", "HANDLE", "as `resolve` takes it, or the key that `list` shows"), _JSON),
        "delete a model from the cache",
        "examples:\n  keras-hub-layers cache remove https://tfhub.dev/google/nnlm-en-dim50/2",
    ),
    "pack": Command(
        commands.run_pack,
        (_DIRECTORY, _argument("archive", "ARCHIVE", "the .tar.gz to write"), _JSON),
        "pack a SavedModel into one archive that any web server can offer",
        """\
The same files give the same bytes. It prints the SHA-256 to pin, and the path.

examples:
  keras-hub-layers pack ./my_saved_model encoder.tar.gz
  HubLayer("https://example.com/encoder.tar.gz", sha256="9f86d08…")   # in Python""",
    ),
    "publish": Command(
        commands.run_publish,
        (
            _DIRECTORY,
            _argument("handle", "HANDLE", "owner/model/framework/variation, or hf://owner/repo"),
            _argument("--license", "NAME", "the licence, by Kaggle's name for it"),
            _argument("--notes", "TEXT", "what is new", default=""),
            _flag("--public", "create a repository that everybody sees"),
            _flag("--dry-run", "check everything, send nothing"),
            _JSON,
        ),
        "upload a SavedModel to Kaggle or Hugging Face",
        """\
It needs the extra [kaggle] or [hf], and the credentials that their clients use.

examples:
  keras-hub-layers publish ./my_saved_model hf://me/encoder --dry-run
  keras-hub-layers publish ./my_saved_model me/encoder/tensorFlow2/small --license "Apache 2.0\"""",
    ),
    "serve": Command(
        commands.run_serve,
        (
            _argument("directory", "DIRECTORY", "it holds SavedModels, at any depth"),
            _argument("--port", "N", "0 for a free one (%(default)s)", type=int, default=8000),
            _argument("--host", "HOST", "address to listen on (%(default)s)", default="127.0.0.1"),
        ),
        "offer every SavedModel below a directory over the hosting protocol",
        """\
It prints the base URL first, then one line per request. End it with Ctrl-C.

examples:
  keras-hub-layers serve ./models
  keras-hub-layers serve ./models --port 0 --host 0.0.0.0
  HubLayer("http://127.0.0.1:8000/encoder")   # in Python""",
    ),
    "demo": Command(
        commands.run_demo,
        (
            _argument(
                "directory", "DIRECTORY", "where it works (%(default)s)", nargs="?", default="keras_hub_layers_demo"
            ),
        ),
        "fine-tune, export and reload a small SavedModel, from start to end",
        """\
It needs no network. Exit code 0 only if everything that it claims is true.

examples:
  keras-hub-layers demo
  keras-hub-layers demo /tmp/my_demo""",
    ),
    "completion": Command(
        completion.run_completion,
        (_argument("shell", None, "for which shell", choices=("bash", "zsh", "tcsh")),),
        "print a script that completes commands, options, files and cached handles",
        """\
It needs shtab: pip install "keras-hub-layers[completion]"

examples:
  keras-hub-layers completion bash > ~/.local/share/bash-completion/completions/keras-hub-layers
  keras-hub-layers completion zsh > ~/.zfunc/_keras-hub-layers   # a directory of fpath
  keras-hub-layers completion tcsh > ~/.keras-hub-layers.tcsh    # then source it in ~/.tcshrc""",
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands.

    What it parses has, besides the arguments, `run` (the function of the command), `parser` (that of the command),
    `program` (the whole parser) and `actions` (the arguments of all commands).
    """
    program = argparse.ArgumentParser(
        prog="keras-hub-layers", description=_ABOUT, epilog=_END, formatter_class=_Formatter
    )
    program.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    program.set_defaults(run=commands.run_help, parser=program)
    groups = {"": program.add_subparsers(title="commands", metavar="COMMAND")}
    actions: list[argparse.Action] = []
    for name, command in COMMANDS.items():
        group, _, word = name.rpartition(" ")
        parser = groups[group].add_parser(
            word,
            aliases=command.aliases,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=command.examples,
            formatter_class=_Formatter,
        )
        actions += [parser.add_argument(argument, **options) for argument, options in command.arguments]
        if command.run is None:
            groups[name] = parser.add_subparsers(title="commands", metavar="COMMAND")
        run = command.run or commands.run_help
        parser.set_defaults(run=run, parser=parser, program=program, actions=actions)
    return program


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, from 60 to 200 columns: sentences are wrapped between words, and examples stay whole."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, **{**kwargs, "max_help_position": 24, "width": columns()})

    def add_argument(self, action: argparse.Action) -> None:
        """Make room for the names of commands: Python 3.11 to 3.14 forget that they are indented once more."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            longest = max(map(len, action.choices)) + self._current_indent + self._indent_increment
            self._action_max_length = max(self._action_max_length, longest)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap a description: its sentences, and the right column of a list, but no example."""
        return "\n\n".join(_fill_paragraph(paragraph, columns()) for paragraph in text.split("\n\n"))


def _fill_paragraph(paragraph: str, width: int) -> str:
    if not re.search("^  ", paragraph, re.MULTILINE):
        return textwrap.fill(paragraph, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line for given in paragraph.splitlines() for line in _fill_row(given, width))


def _fill_row(line: str, width: int) -> list[str]:
    """A row of a list, its text wrapped in its column; any other line as it is."""
    row = re.fullmatch(r"(  [^#]*?\S {3,})([^#\s].*)", line)
    if not row or len(line) <= width:
        return [line]
    indent = " " * len(row[1])
    return textwrap.wrap(row[2], width, initial_indent=row[1], subsequent_indent=indent, break_long_words=False)
