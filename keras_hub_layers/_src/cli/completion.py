"""completion: the script that completes commands, options, files and cached handles in a shell."""

import argparse
from typing import Any

from keras_hub_layers.errors import MissingPackageError

# Not `compgen -W`, which would run what a handle holds in $(…). bash takes ":" for the end of a word, and URLs have it.
_BASH = """\
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}
_keras_hub_layers_cached() {
  local handle
  while IFS= read -r handle; do
    [[ $handle == "$1"* ]] && printf '%s\\n' "$handle"
  done < <(keras-hub-layers cache list --quiet 2>/dev/null)
}
_keras_hub_layers_cached_or_file() {
  _keras_hub_layers_cached "$1"
  compgen -f -- "$1"
}"""


_ZSH = """\
_keras_hub_layers_cached() {
  local -a handles
  handles=("${(@f)$(keras-hub-layers cache list --quiet 2>/dev/null)}")
  compadd -a handles
}
_keras_hub_layers_cached_or_file() {
  _keras_hub_layers_cached
  _files
}"""


def run_completion(chosen: argparse.Namespace) -> int:
    """Print the script for a shell."""
    try:
        import shtab
    except ImportError as error:
        raise MissingPackageError(
            "Completion needs a package that is not installed.",
            expected="shtab",
            received=str(error),
            where=f"keras-hub-layers completion {chosen.shell}",
            fix='pip install "keras-hub-layers[completion]"',
        ) from error
    cached = dict.fromkeys(("bash", "zsh"), "_keras_hub_layers_cached")
    cached_or_file = dict.fromkeys(("bash", "zsh"), "_keras_hub_layers_cached_or_file")
    completed = {
        "archive": shtab.FILE,
        "input": shtab.FILE,
        "directory": shtab.DIRECTORY,
        "handle": {**shtab.FILE, **cached_or_file},
        "cached_handle": {**shtab.FILE, **cached},
    }
    for action in chosen.actions:
        if action.dest in completed:
            action.complete = completed[action.dest]
    preamble: Any = {"bash": _BASH, "zsh": _ZSH}  # shtab annotates it as `str`
    print(shtab.complete(chosen.program, shell=chosen.shell, preamble=preamble))
    return 0
