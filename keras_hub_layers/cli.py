"""The command line: each command's result, as text or JSON. Each imports what it needs when it runs."""

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from keras_hub_layers import commands
from keras_hub_layers.errors import HubError, MissingPackageError, explain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after the program's name. Defaults to those of the process.

    Returns:
        0 when all is well, 1 when the work failed (the reason is on stderr), 130 when it was interrupted. Wrong
        usage leaves with 2 through `SystemExit`, as argparse does.
    """
    _prepare_streams()
    chosen = _parser().parse_args(arguments)
    if sys.stdout is None:  # `>&-`
        print("keras-hub-layers: the standard output is closed, so nothing can be printed", file=sys.stderr)
        return 1
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


def _parser() -> argparse.ArgumentParser:
    return commands.parser(
        {
            "inspect": _inspect,
            "doctor": _doctor,
            "resolve": _resolve,
            "cache list": _cache_list,
            "cache verify": _cache_verify,
            "cache remove": _cache_remove,
            "pack": _pack,
            "publish": _publish,
            "serve": _serve,
            "demo": _demo,
            "completion": _completion,
        }
    )


def _inspect(chosen: argparse.Namespace) -> int:
    _quiet_tensorflow()
    from keras_hub_layers.interface import inspect
    from keras_hub_layers.overview import table

    interface = inspect(chosen.handle, chosen.tags)
    if chosen.json:
        _print_json(interface.to_dict())
    else:
        _print_table(table(interface))
    return 0


def _doctor(chosen: argparse.Namespace) -> int:
    from keras_hub_layers import findings

    if chosen.handle is None:
        if chosen.input or chosen.tags is not None:
            chosen.usage_error(f"{'--input' if chosen.input else '--tags'} is for doctor HANDLE")
        from keras_hub_layers import installation, surroundings

        found: list[Any] = [*installation.check(), *surroundings.check()]
        result: dict[str, str] = {}
    else:
        found, result = _journey(chosen.handle, chosen.input, chosen.tags)
    if chosen.json:
        _print_json({**result, "ok": not findings.has_problem(found), "findings": findings.to_dicts(found)})
    else:
        _print_table(findings.table(found))
        print("\n" + findings.summary(found))
        if result.get("code"):
            print(f"\nTo go on with:\n\n{result['code']}")
    return 1 if findings.has_problem(found) else 0


def _journey(handle: str, inputs: Sequence[str], tags: Sequence[str] | None) -> tuple[list[Any], dict[str, str]]:
    """What was found on the road of a handle; with an installation that is broken, that it is."""
    from keras_hub_layers.findings import of_error
    from keras_hub_layers.handles import display

    try:
        _quiet_tensorflow()
        from keras_hub_layers import journeys
    except Exception as error:  # a backend that is not installed, a library that does not fit
        finding = dataclasses.replace(of_error(error, "import"), fix="keras-hub-layers doctor")
        return [finding], {"handle": display(handle), "code": ""}
    with _held_stderr():
        journey = journeys.travel(handle, inputs, tags)
    return list(journey.findings), {"handle": journey.handle, "code": journey.code}


def _resolve(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.handles import display
    from keras_hub_layers.resolvers import resolve

    directory = resolve(chosen.handle, sha256=chosen.sha256)
    if chosen.json:
        _print_json({"handle": display(chosen.handle), "directory": directory})
    else:
        print(directory)
    return 0


def _cache_list(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.cache import Cache

    cache = Cache()
    entries = cache.entries()
    if chosen.json:
        _print_json({"root": cache.root, "entries": [dataclasses.asdict(entry) for entry in entries]})
        return 0
    from keras_hub_layers.tables import readable

    for entry in entries:
        day = time.strftime("%Y-%m-%d", time.localtime(entry.created))
        print(f"{readable(entry.size):>9}  {day}  {entry.key}  {entry.handle or '(unknown handle)'}")
    print(f"{len(entries)} in {cache.root}", file=sys.stderr)
    return 0


def _cache_verify(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.cache import Cache

    cache = Cache()
    checked = [
        (entry, cache.verify(entry)) for entry in (cache.select(chosen.handle) if chosen.handle else cache.entries())
    ]
    bad = sum(bool(problems) for _, problems in checked)
    if chosen.json:
        entries = [{**dataclasses.asdict(entry), "problems": problems} for entry, problems in checked]
        _print_json({"root": cache.root, "broken": bad, "entries": entries})
        return 1 if bad else 0
    for entry, problems in checked:
        state = "broken" if problems else "ok" if entry.verifiable else "ok (names only: no checksums are known)"
        print("\n  ".join([f"{state}: {entry.handle or entry.key}", *problems]))
    if bad:
        print(f"keras-hub-layers: {bad} broken; remove them: keras-hub-layers cache remove HANDLE", file=sys.stderr)
    return 1 if bad else 0


def _cache_remove(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.cache import Cache
    from keras_hub_layers.tables import readable

    cache = Cache()
    entries = cache.select(chosen.handle)
    for entry in entries:
        cache.remove(entry)
        if not chosen.json:
            print(f"removed {readable(entry.size)}: {entry.handle or entry.key}")
    if chosen.json:
        _print_json({"root": cache.root, "removed": [dataclasses.asdict(entry) for entry in entries]})
    return 0


def _pack(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.manifests import sha256_of
    from keras_hub_layers.publishers import pack

    archive = pack(chosen.directory, chosen.archive)
    sha256 = sha256_of(archive)
    if chosen.json:
        _print_json({"archive": archive, "sha256": sha256, "size": os.path.getsize(archive)})
    else:
        print(f"{sha256}  {archive}")
    return 0


def _publish(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.publishers import publish

    options = {"license": chosen.license, "notes": chosen.notes, "private": not chosen.public}
    publication = publish(chosen.directory, chosen.handle, dry_run=chosen.dry_run, **options)
    if chosen.json:
        files = [{"name": name, "size": size} for name, size in publication.files]
        _print_json({"handle": publication.handle, "sent": publication.sent, "files": files})
    else:
        print(publication)
    return 0


def _serve(chosen: argparse.Namespace) -> int:
    from keras_hub_layers.servers import serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that `serve` can tidy up
    serve(chosen.directory, chosen.host, chosen.port, ready=lambda base: print(base, flush=True))
    return 0


def _demo(chosen: argparse.Namespace) -> int:
    _quiet_tensorflow()
    from keras_hub_layers import demo

    return demo.main(chosen.directory)


def _completion(chosen: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError as error:
        raise MissingPackageError(
            explain(
                "Completion needs a package that is not installed.",
                expected="shtab",
                received=str(error),
                where=f"keras-hub-layers completion {chosen.shell}",
                fix='pip install "keras-hub-layers[completion]"',
            )
        ) from error
    parser = _parser()
    for action in _actions(parser):
        if action.dest in ("handle", "archive", "input"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest == "directory":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=chosen.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a parser and of its commands."""
    found = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for command in action.choices.values() for inner in _actions(command)]
    return found


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))


def _print_table(table: Any) -> None:
    """Print a table; in colours on a terminal, unless `NO_COLOR` is set."""
    if not sys.stdout.isatty():  # rich need not be imported
        print(table)
        return
    from rich.console import Console

    Console().print(table.rich(), soft_wrap=True)


def _quiet_tensorflow() -> None:
    """Import TensorFlow without the notes that its libraries write before it can be told not to."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules:
        try:
            with _held_stderr():
                importlib.import_module("tensorflow")
        except Exception as error:  # it imports Keras, which refuses an unknown backend by a ValueError
            raise MissingPackageError(
                explain(
                    "TensorFlow cannot be imported.",
                    expected="TensorFlow, to read SavedModels",
                    received=f"{type(error).__name__}: {error}",
                    where=sys.executable,
                    fix="keras-hub-layers doctor",
                )
            ) from error


@contextlib.contextmanager
def _held_stderr() -> Iterator[None]:
    """Keep back what libraries write to the standard error, unless it ends in an error or is asked for."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1"):
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        before = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(before, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
