"""What each command does. Each imports what it needs when it runs."""

import argparse
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from keras_hub_layers._src.cli import parser as parser_lib
from keras_hub_layers._src.cli.terminal import _held_stderr, _print_json, _print_table, _quiet_tensorflow
from keras_hub_layers.errors import MissingPackageError


def _parser() -> argparse.ArgumentParser:
    return parser_lib.parser(
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
    from keras_hub_layers._src.inspect.inspect import inspect
    from keras_hub_layers._src.inspect.table import table

    interface = inspect(chosen.handle, chosen.tags)
    if chosen.json:
        _print_json(interface.to_dict())
    else:
        _print_table(table(interface))
    return 0


def _doctor(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.cli.doctor import finding as finding_lib

    if chosen.handle is None:
        if chosen.input or chosen.tags is not None:
            chosen.usage_error(f"{'--input' if chosen.input else '--tags'} is for doctor HANDLE")
        from keras_hub_layers._src.cli.doctor import cache_and_network, installation

        found: list[Any] = [*installation.check(), *cache_and_network.check()]
        result: dict[str, str] = {}
    else:
        found, result = _journey(chosen.handle, chosen.input, chosen.tags)
    if chosen.json:
        _print_json({**result, "ok": not finding_lib.has_problem(found), "findings": finding_lib.to_dicts(found)})
    else:
        _print_table(finding_lib.table(found))
        print("\n" + finding_lib.summary(found))
        if result.get("code"):
            print(f"\nTo go on with:\n\n{result['code']}")
    return 1 if finding_lib.has_problem(found) else 0


def _journey(handle: str, inputs: Sequence[str], tags: Sequence[str] | None) -> tuple[list[Any], dict[str, str]]:
    """What was found on the road of a handle; with an installation that is broken, that it is."""
    from keras_hub_layers._src.cli.doctor.finding import of_error
    from keras_hub_layers._src.resolve.handles import display

    try:
        _quiet_tensorflow()
        from keras_hub_layers._src.cli.doctor import handle_check
    except Exception as error:  # a backend that is not installed, a library that does not fit
        finding = dataclasses.replace(of_error(error, "import"), fix="keras-hub-layers doctor")
        return [finding], {"handle": display(handle), "code": ""}
    with _held_stderr():
        journey = handle_check.travel(handle, inputs, tags)
    return list(journey.findings), {"handle": journey.handle, "code": journey.code}


def _resolve(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.resolve.handles import display
    from keras_hub_layers._src.resolve.resolve import resolve

    directory = resolve(chosen.handle, sha256=chosen.sha256)
    if chosen.json:
        _print_json({"handle": display(chosen.handle), "directory": directory})
    else:
        print(directory)
    return 0


def _cache_list(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.resolve.cache import Cache

    cache = Cache()
    entries = cache.entries()
    if chosen.json:
        _print_json({"root": cache.root, "entries": [dataclasses.asdict(entry) for entry in entries]})
        return 0
    from keras_hub_layers._src.text.words import readable

    for entry in entries:
        day = time.strftime("%Y-%m-%d", time.localtime(entry.created))
        print(f"{readable(entry.size):>9}  {day}  {entry.key}  {entry.handle or '(unknown handle)'}")
    print(f"{len(entries)} in {cache.root}", file=sys.stderr)
    return 0


def _cache_verify(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.resolve.cache import Cache

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
    from keras_hub_layers._src.resolve.cache import Cache
    from keras_hub_layers._src.text.words import readable

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
    from keras_hub_layers._src.files.manifests import sha256_of
    from keras_hub_layers._src.publish.pack import pack

    archive = pack(chosen.directory, chosen.archive)
    sha256 = sha256_of(archive)
    if chosen.json:
        _print_json({"archive": archive, "sha256": sha256, "size": os.path.getsize(archive)})
    else:
        print(f"{sha256}  {archive}")
    return 0


def _publish(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.publish.publish import publish

    options = {"license": chosen.license, "notes": chosen.notes, "private": not chosen.public}
    publication = publish(chosen.directory, chosen.handle, dry_run=chosen.dry_run, **options)
    if chosen.json:
        files = [{"name": name, "size": size} for name, size in publication.files]
        _print_json({"handle": publication.handle, "sent": publication.sent, "files": files})
    else:
        print(publication)
    return 0


def _serve(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.publish.server import serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that `serve` can tidy up
    serve(chosen.directory, chosen.host, chosen.port, ready=lambda base: print(base, flush=True))
    return 0


def _demo(chosen: argparse.Namespace) -> int:
    _quiet_tensorflow()
    from keras_hub_layers._src.cli import demo

    return demo.main(chosen.directory)


def _completion(chosen: argparse.Namespace) -> int:
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
