"""The command line: arguments and formatting only. Each command imports what it needs when it runs."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from keras_hub_layers import __version__
from keras_hub_layers.errors import HubError

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after the program's name. Defaults to those of the process.

    Returns:
        0 when all is well, 1 when the work failed (the reason is on stderr), 130 when it was interrupted. Wrong
        usage leaves with 2 through `SystemExit`, as argparse does.
    """
    chosen = _parser().parse_args(arguments)
    try:
        code = chosen.run(chosen)
        sys.stdout.flush()
        return code
    except HubError as error:
        print(f"keras-hub-layers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-hub-layers",
        description="Use, fine-tune and share SavedModels in Keras 3.",
        epilog="Exit codes: 0 all is well, 1 the work failed, 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str, group: Any = commands) -> argparse.ArgumentParser:
        command = group.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(run=run)
        return command

    demo = add("demo", _demo, "fine-tune, export and reload a small SavedModel, from start to end")
    demo.add_argument("directory", nargs="?", default="keras_hub_layers_demo", help="where it works (%(default)s)")
    resolve = add("resolve", _resolve, "print the local directory of a handle, downloading it if need be")
    resolve.add_argument("handle", help="a path, URL or hub id")
    resolve.add_argument("--sha256", metavar="H", help="SHA-256 that the archive must have")
    inspect = add("inspect", _inspect, "show what a SavedModel offers: calls, signatures, variables, pieces")
    inspect.add_argument("handle", help="a path, URL or hub id")
    inspect.add_argument("--json", action="store_true", help="for machines")

    cache = commands.add_parser("cache", help="list, verify or remove downloaded models")
    kept = cache.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add("list", _cache_list, "list what is in the cache, newest first", kept)
    verify = add("verify", _cache_verify, "read every file and compare it with what was stored", kept)
    verify.add_argument("handle", nargs="?", help="only this model (all)")
    remove = add("remove", _cache_remove, "delete a model from the cache", kept)
    remove.add_argument("handle", help="the handle, or the key that `list` shows")

    pack = add("pack", _pack, "pack a SavedModel into one archive that any web server can offer")
    pack.add_argument("directory", help="a directory that holds a SavedModel")
    pack.add_argument("archive", help="the .tar.gz to write")
    publish = add("publish", _publish, "upload a SavedModel to Kaggle or Hugging Face")
    publish.add_argument("directory", help="a directory that holds a SavedModel")
    publish.add_argument("handle", help="owner/model/framework/variation, or hf://owner/repo")
    publish.add_argument("--license", metavar="NAME", help="as Kaggle knows it")
    publish.add_argument("--notes", default="", metavar="TEXT", help="what is new")
    publish.add_argument("--public", action="store_true", help="create a repository that everybody sees")
    publish.add_argument("--dry-run", action="store_true", help="check everything, send nothing")
    serve = add("serve", _serve, "offer every SavedModel below a directory over the hosting protocol")
    serve.add_argument("directory", help="a directory with SavedModels")
    serve.add_argument("--port", type=int, default=8000, metavar="N", help="0 for a free one (%(default)s)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    return parser


def _demo(chosen: argparse.Namespace) -> int:
    _quiet_tensorflow()
    from keras_hub_layers import demo

    return demo.main(chosen.directory)


def _resolve(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.resolvers import resolve

    print(resolve(chosen.handle, sha256=chosen.sha256))
    return 0


def _inspect(chosen: argparse.Namespace) -> int:
    _quiet_tensorflow()
    from keras_hub_layers.interface import inspect

    interface = inspect(chosen.handle)
    print(json.dumps(interface.to_dict(), indent=2) if chosen.json else interface)
    return 0


def _cache_list(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.cache import Cache

    cache = Cache()
    entries = cache.entries()
    for entry in entries:
        day = time.strftime("%Y-%m-%d", time.localtime(entry.created))
        print(f"{_readable(entry.size):>9}  {day}  {entry.key}  {entry.handle or '(unknown handle)'}")
    print(f"{len(entries)} in {cache.root}", file=sys.stderr)
    return 0


def _cache_verify(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.cache import Cache

    cache = Cache()
    bad = 0
    for entry in cache.select(chosen.handle) if chosen.handle else cache.entries():
        problems = cache.verify(entry)
        bad += bool(problems)
        state = "broken" if problems else "ok" if entry.verifiable else "ok (names only: no checksums are known)"
        print("\n  ".join([f"{state}: {entry.handle or entry.key}", *problems]))
    if bad:
        print(f"keras-hub-layers: {bad} broken; remove them: keras-hub-layers cache remove HANDLE", file=sys.stderr)
    return 1 if bad else 0


def _cache_remove(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.cache import Cache

    cache = Cache()
    for entry in cache.select(chosen.handle):
        cache.remove(entry)
        print(f"removed {_readable(entry.size)}: {entry.handle or entry.key}")
    return 0


def _pack(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.manifests import sha256_of
    from keras_hub_layers.publishers import pack

    archive = pack(chosen.directory, chosen.archive)
    print(f"{sha256_of(archive)}  {archive}")
    return 0


def _publish(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.publishers import publish

    options = {"license": chosen.license, "notes": chosen.notes, "private": not chosen.public}
    print(publish(chosen.directory, chosen.handle, dry_run=chosen.dry_run, **options))
    return 0


def _serve(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.servers import serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that `serve` can tidy up
    serve(chosen.directory, chosen.host, chosen.port, ready=lambda base: print(base, flush=True))
    return 0


def _quiet_tensorflow() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _readable(size: float) -> str:
    """A size in bytes, in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
