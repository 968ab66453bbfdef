"""The command line: run one command, and turn errors into exit codes."""

import os
import sys
from collections.abc import Sequence

from keras_hub_layers._src.cli.parser import build_parser
from keras_hub_layers._src.cli.terminal import print_error
from keras_hub_layers.errors import HubError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after the program's name. Defaults to those of the process.

    Returns:
        0 when all is well, 1 when the work failed (the reason is on stderr), 130 when it was interrupted. Wrong
        usage leaves with 2 through `SystemExit`, as argparse does.
    """
    _prepare_streams()
    chosen = build_parser().parse_args(arguments)
    if sys.stdout is None:  # `>&-`
        print("keras-hub-layers: the standard output is closed, so nothing can be printed", file=sys.stderr)
        return 1
    try:
        code = chosen.run(chosen)
        sys.stdout.flush()
        return code
    except HubError as error:
        print_error(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has enough
        _drop_output()
        return 0
    except OSError as error:  # a disk that is full, a directory that cannot be written
        print(f"keras-hub-layers: {error}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        return 1


def _prepare_streams() -> None:
    """Have what the terminal cannot show escaped, as Python would write it; and a standard error to write to."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    if getattr(sys.stdout, "errors", "") == "strict":
        is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"  # then only odd file names cannot be shown
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")  # type: ignore[union-attr]


def _drop_output() -> None:
    """Have Python not try again, at its end, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
