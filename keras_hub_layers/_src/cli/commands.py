"""What each command does: `run_inspect` for `inspect`, and so on. Each imports what it needs when it runs."""

import argparse
import dataclasses
import os
import signal
import sys
import time
from typing import Any

from keras_hub_layers._src.cli.terminal import columns, hold_stderr, import_tensorflow, print_json, print_table
from keras_hub_layers._src.text.progress import progress


def run_help(chosen: argparse.Namespace) -> int:
    """Where no command was given: wrong usage, answered by the help."""
    chosen.parser.print_help(sys.stderr)
    sys.exit(2)


def run_inspect(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.inspect.inspect import inspect
    from keras_hub_layers._src.inspect.table import table
    from keras_hub_layers._src.resolve.handles import parse

    if parse(chosen.handle).kind == "remote":
        import_tensorflow()  # it reads remote file systems
    interface = inspect(chosen.handle, chosen.tags)
    if chosen.json:
        print_json(interface.to_dict())
    else:
        print_table(table(interface, columns()))
    return 0


def run_doctor(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.cli.doctor import finding
    from keras_hub_layers._src.cli.doctor.script import is_script

    is_watched = sys.stdout.isatty() and not chosen.json  # then each finding is shown as soon as it is known
    if chosen.handle is None:
        if chosen.input or chosen.tags is not None:
            chosen.parser.error(f"{'--input' if chosen.input else '--tags'} is for doctor HANDLE")
        findings, result = _check_installation(is_watched), {}
    elif is_script(chosen.handle):
        return _check_script(chosen, is_watched)
    else:
        findings, result = _check_handle(chosen, is_watched)
    if chosen.json:
        print_json({**result, "ok": not finding.has_problem(findings), "findings": finding.to_dicts(findings)})
    else:
        if not is_watched:
            print_table(finding.table(findings, width=columns()))
        print("\n" + finding.summary(findings))
        if result.get("code"):
            print(f"\nTo go on with:\n\n{result['code']}")
    return 1 if finding.has_problem(findings) else 0


def _check_installation(is_watched: bool) -> list[Any]:
    """The findings about the installation, the cache and the network."""
    from keras_hub_layers._src.cli.doctor import cache_and_network, finding, installation

    findings = []
    for checks in (installation.check, cache_and_network.check):
        for found in checks():
            if is_watched:
                print_table(finding.table([found], [installation.LONGEST_TOPIC], columns()))
            findings.append(found)
    return findings


def _check_handle(chosen: argparse.Namespace, is_watched: bool) -> tuple[list[Any], dict[str, str]]:
    """The findings about a handle, and what else goes into the JSON."""
    from keras_hub_layers._src.cli.doctor import finding, handle_check

    def report(found: finding.Finding) -> None:
        if is_watched:
            print_table(finding.table([found], [handle_check.LONGEST_TOPIC], columns()))

    with hold_stderr():
        checked = handle_check.check(chosen.handle, chosen.input, chosen.tags, report)
    return list(checked.findings), {"handle": checked.handle, "code": checked.code}


def _check_script(chosen: argparse.Namespace, is_watched: bool) -> int:
    """Check each handle that a script names, and print what is found."""
    from keras_hub_layers._src.cli.doctor import finding, script

    found = script.read(chosen.handle)
    results = []
    for mention in found.mentions:
        chosen.handle = mention.handle
        if not chosen.json:
            print(f"line {mention.line}: {mention.code}\n")
        findings, result = _check_handle(chosen, is_watched)
        results.append((mention, findings, result))
        if not chosen.json:
            if not is_watched:
                print_table(finding.table(findings, width=columns()))
            print(f"\n{finding.summary(findings)}\n")
    if found.findings and not chosen.json:
        print_table(finding.table(found.findings, width=columns()))
    problem = any(finding.has_problem(findings) for _, findings, _ in results)
    if chosen.json:
        handles = [
            {"line": mention.line, **result, "findings": finding.to_dicts(findings)}
            for mention, findings, result in results
        ]
        print_json(
            {"script": found.path, "ok": not problem, "findings": finding.to_dicts(found.findings), "handles": handles}
        )
    return 1 if problem else 0


def run_resolve(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.resolve.handles import display
    from keras_hub_layers._src.resolve.resolve import resolve

    directory = resolve(chosen.handle, sha256=chosen.sha256)
    if chosen.json:
        print_json({"handle": display(chosen.handle), "directory": directory})
    else:
        print(directory)
    return 0


def run_cache_list(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.resolve.cache import Cache

    cache = Cache()
    entries = cache.entries()
    if chosen.json:
        print_json({"root": cache.root, "entries": [dataclasses.asdict(entry) for entry in entries]})
        return 0
    if chosen.quiet:
        print("\n".join(entry.handle or entry.key for entry in entries), end="\n" if entries else "")
        return 0
    for entry in entries:
        print(_describe_entry(entry))
    print(f"{len(entries)} in {cache.root}", file=sys.stderr)
    return 0


def _describe_entry(entry: Any) -> str:
    """One line; on a terminal with a short key, and in two lines where one is too long for it."""
    from keras_hub_layers._src.text.words import readable

    day, handle = time.strftime("%Y-%m-%d", time.localtime(entry.created)), entry.handle or "(unknown handle)"
    if not sys.stdout.isatty():
        return f"{readable(entry.size):>9}  {day}  {entry.key}  {handle}"
    line = f"{readable(entry.size):>9}  {day}  {entry.key[:12]}"
    return f"{line}  {handle}" if len(line) + 2 + len(handle) <= columns() else f"{line}\n    {handle}"


def run_cache_verify(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.resolve.cache import Cache

    cache = Cache()
    checked = [
        (entry, cache.verify(entry))
        for entry in (cache.select(chosen.cached_handle) if chosen.cached_handle else cache.entries())
    ]
    bad = sum(bool(problems) for _, problems in checked)
    if chosen.json:
        entries = [{**dataclasses.asdict(entry), "problems": problems} for entry, problems in checked]
        print_json({"root": cache.root, "broken": bad, "entries": entries})
        return 1 if bad else 0
    for entry, problems in checked:
        state = "broken" if problems else "ok" if entry.verifiable else "ok (names only: no checksums are known)"
        print("\n  ".join([f"{state}: {entry.handle or entry.key}", *problems]))
    if bad:
        print(f"keras-hub-layers: {bad} broken; remove them: keras-hub-layers cache remove HANDLE", file=sys.stderr)
    return 1 if bad else 0


def run_cache_remove(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.resolve.cache import Cache
    from keras_hub_layers._src.resolve.clients import refuse_other_cache
    from keras_hub_layers._src.text.words import readable

    cache = Cache()
    refuse_other_cache(chosen.cached_handle)
    entries = cache.select(chosen.cached_handle)
    for entry in entries:
        cache.remove(entry)
        if not chosen.json:
            print(f"removed {readable(entry.size)}: {entry.handle or entry.key}")
    if chosen.json:
        print_json({"root": cache.root, "removed": [dataclasses.asdict(entry) for entry in entries]})
    return 0


def run_pack(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.files.manifests import sha256_of
    from keras_hub_layers._src.publish.pack import pack

    archive = pack(chosen.directory, chosen.archive)
    sha256 = sha256_of(archive)
    if chosen.json:
        print_json({"archive": archive, "sha256": sha256, "size": os.path.getsize(archive)})
    else:
        print(f"{sha256}  {archive}")
    return 0


def run_publish(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.publish.publish import publish

    options = {"license": chosen.license, "notes": chosen.notes, "private": not chosen.public}
    publication = publish(chosen.directory, chosen.handle, dry_run=chosen.dry_run, **options)
    if chosen.json:
        files = [{"name": name, "size": size} for name, size in publication.files]
        print_json({"handle": publication.handle, "sent": publication.sent, "files": files})
    else:
        print(publication)
    return 0


def run_serve(chosen: argparse.Namespace) -> int:
    from keras_hub_layers._src.publish.server import serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that `serve` can tidy up
    serve(chosen.directory, chosen.host, chosen.port, ready=lambda base: print(base, flush=True))
    return 0


def run_demo(chosen: argparse.Namespace) -> int:
    import_tensorflow()
    with progress("loading Keras", after=0), hold_stderr():
        import keras

        from keras_hub_layers._src.cli.demo.demo import demo

        keras.ops.zeros(())  # TensorFlow finds its devices
    return demo(chosen.directory)
