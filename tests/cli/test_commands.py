"""The command line prints what was asked for, says what failed, and imports no more than it needs."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import producers
import pytest

from keras_hub_layers import __version__
from keras_hub_layers._src.cli import doctor, main, parser, terminal
from keras_hub_layers._src.cli.doctor import cache_and_network, installation
from keras_hub_layers._src.cli.doctor.finding import Finding
from keras_hub_layers._src.files.manifests import sha256_of
from keras_hub_layers._src.inspect import inspect as inspect_module
from keras_hub_layers._src.publish.server import serve_in_thread
from keras_hub_layers._src.resolve.cache import Cache, key_of

FRAMEWORKS = ("tensorflow", "keras", "requests", "rich", "werkzeug")


@pytest.fixture
def model(tmp_path):
    """A directory that passes for a SavedModel wherever TensorFlow is not asked."""
    directory = tmp_path / "models" / "encoder"
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"graph")
    return directory


def run(*words):
    """What the program prints and returns, in a process of its own, and which frameworks it imported."""
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('imported', *[m for m in {FRAMEWORKS} if m in sys.modules], file=sys.stderr))\n"
        "from keras_hub_layers._src.cli.main import main\n"
        "sys.exit(main())"
    )
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)


def test_resolve_prints_the_directory_and_nothing_else(model, capsys):
    assert main.main(["resolve", str(model)]) == 0
    assert capsys.readouterr().out == f"{model}\n"


def test_resolve_over_http_twice_gives_one_cached_directory(model, capsys):
    with serve_in_thread(model.parent) as base:
        assert main.main(["resolve", f"{base}/encoder"]) == 0
    assert main.main(["resolve", f"{base}/encoder"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert os.listdir(first) == ["saved_model.pb"]


def test_a_failure_is_one_message_on_stderr_without_a_traceback(tmp_path):
    done = run("resolve", tmp_path / "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is nothing at this path." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["bake"],
        ["resolve"],
        ["cache"],
        ["cache", "remove"],
        ["pack", "a"],
        ["serve", "d", "--port", "x"],
        ["completion"],
        ["completion", "cmd"],
        ["doctor", "--input", "1:float32"],
        ["doctor", "--tags", "serve"],
    ],
)
def test_wrong_usage_leaves_with_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(words)
    assert "usage: keras-hub-layers" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "command"), [([], "resolve"), (["cache"], "verify")])
def test_without_a_command_the_whole_help_is_shown(words, command, capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(words)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"\n    {command} " in printed.err
    assert "examples:" in printed.err or "where to begin:" in printed.err


def test_download_is_another_name_of_resolve(model, capsys):
    assert main.main(["download", str(model)]) == 0
    assert capsys.readouterr().out == f"{model}\n"


def test_wrong_usage_of_doctor_shows_the_usage_of_doctor(capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(["doctor", "--input", "1:float32"])
    assert capsys.readouterr().err.startswith("usage: keras-hub-layers doctor ")


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit, match="0"):
        main.main(["--version"])
    assert capsys.readouterr().out == f"keras-hub-layers {__version__}\n"


@pytest.mark.parametrize(
    ("words", "imported"),
    [
        (["resolve", "{model}"], ""),
        (["cache", "list"], ""),
        (["cache", "verify"], ""),
        (["pack", "{model}", "{model}/../m.tar.gz"], ""),
        (["--help"], ""),
        (["doctor", "--help"], ""),
        (["completion", "bash"], ""),
        (["cache", "list", "--json"], ""),
        (["serve", "{model}/nothing"], "werkzeug"),
        (["resolve", "http://127.0.0.1:9/m"], ""),
        (["inspect", "{model}"], ""),
        (["doctor", "{model}"], ""),
    ],
)
def test_commands_without_a_model_to_load_import_neither_tensorflow_nor_keras(words, imported, model, monkeypatch):
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", "1")
    done = run(*(word.format(model=model) for word in words))
    assert done.stderr.splitlines()[-1].split() == ["imported", *imported.split()]


def test_the_cache_is_listed_verified_and_emptied(model, capsys):
    with serve_in_thread(model.parent) as base:
        main.main(["resolve", f"{base}/encoder"])
    directory = capsys.readouterr().out.strip()
    assert main.main(["cache", "list"]) == 0
    assert f"{base}/encoder" in capsys.readouterr().out
    assert main.main(["cache", "verify"]) == 0
    assert capsys.readouterr().out == f"ok: {base}/encoder\n"
    with open(os.path.join(directory, "saved_model.pb"), "wb") as file:
        file.write(b"GRAPH")
    assert main.main(["cache", "verify", f"{base}/encoder"]) == 1
    assert "changed: saved_model.pb" in capsys.readouterr().out
    assert main.main(["cache", "remove", f"{base}/encoder"]) == 0
    assert not os.path.exists(directory)
    assert main.main(["cache", "remove", f"{base}/encoder"]) == 1
    assert "not in the cache" in capsys.readouterr().err


def test_the_list_has_a_short_key_on_a_terminal_and_handles_alone_for_scripts(model, capsys, monkeypatch):
    with serve_in_thread(model.parent) as base:
        main.main(["resolve", f"{base}/encoder"])
        main.main(["resolve", f"{base}/encoder?{'x' * 60}"])
    long, short = f"{base}/encoder?{'x' * 60}", f"{base}/encoder"
    capsys.readouterr()
    main.main(["cache", "list", "--quiet"])
    assert capsys.readouterr().out == f"{long}\n{short}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    main.main(["cache", "list"])
    first, second, third = capsys.readouterr().out.splitlines()
    assert second == f"    {long}"
    assert third.endswith(f"  {key_of(short)[:12]}  {short}")
    assert main.main(["cache", "remove", first.split()[-1]]) == 0
    assert main.main(["cache", "remove", short]) == 0


@pytest.mark.parametrize(
    ("handle", "folder"),
    [
        ("hf://owner/repo/text@main", "hf/hub/models--owner--repo"),
        ("owner/model/tensorFlow2/small/2", "kaggle/models/owner/model/tensorFlow2/small/2"),
        ("owner/model/tensorflow2/small", "kaggle/models/owner/model/tensorFlow2/small"),
    ],
)
def test_what_another_cache_holds_is_not_removed_but_said(handle, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    assert main.main(["cache", "remove", handle]) == 1
    assert "This model is not in the cache." in capsys.readouterr().err
    (tmp_path / folder).mkdir(parents=True)
    assert main.main(["cache", "remove", handle]) == 1
    assert f"What to do: rm -r {str(tmp_path / folder).rstrip('/')}" in capsys.readouterr().err
    assert (tmp_path / folder).is_dir()


def test_pack_prints_the_checksum_to_pin(model, tmp_path, capsys):
    archive = tmp_path / "m.tar.gz"
    assert main.main(["pack", str(model), str(archive)]) == 0
    assert capsys.readouterr().out == f"{sha256_of(archive)}  {archive}\n"


def test_a_dry_run_of_publish_shows_what_would_be_sent(model, capsys):
    assert main.main(["publish", str(model), "hf://owner/repo", "--dry-run"]) == 0
    assert capsys.readouterr().out == "would publish hf://owner/repo\n           5  saved_model.pb\n"
    assert main.main(["publish", str(model), "hf://owner/repo", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "handle": "hf://owner/repo",
        "sent": False,
        "files": [{"name": "saved_model.pb", "size": 5}],
    }


@pytest.mark.parametrize("signal", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_its_address_first_then_answers_and_tidies_up(model, tmp_path, signal):
    command = [sys.executable, "-m", "keras_hub_layers", "serve", str(model.parent), "--port", "0"]
    (tmp_path / "tmp").mkdir()
    settings = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings) as process:
        assert process.stdout
        base = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{base}/encoder?tf-hub-format=compressed") as answer:
            assert answer.read(2) == b"\x1f\x8b"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{base}/nothing%1b%5b31m")
        process.send_signal(signal)
        _, log = process.communicate()
    assert process.returncode == 0
    assert '"GET /encoder?tf-hub-format=compressed HTTP/1.1" 200' in log
    assert ("Traceback" in log, "\x1b" in log) == (False, False)
    assert os.listdir(tmp_path / "tmp") == []


def test_inspect_prints_a_table_or_json(produced, capsys):
    handle = produced(producers.half_plus_one, True)
    assert main.main(["inspect", handle]) == 0
    assert capsys.readouterr().out == f"{inspect_module.inspect(handle)}\n"
    assert main.main(["inspect", handle, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == inspect_module.inspect(handle).to_dict()
    assert data["sizes"]["trainable"] == {"variables": 1, "parameters": 1, "size": 4}


def test_a_terminal_gets_colours_unless_they_are_refused(produced, capsys, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    handle = produced(producers.half_plus_one, True)
    main.main(["inspect", handle])
    coloured = capsys.readouterr().out
    assert "\x1b[36mHubLayer(" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    main.main(["inspect", handle])
    assert "\x1b[36m" not in capsys.readouterr().out


def test_json_is_all_that_is_printed(model, tmp_path, capsys):
    def result(*words, code=0):
        assert main.main([*map(str, words), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    with serve_in_thread(model.parent) as base:
        found = result("resolve", f"{base}/encoder")
    assert found["handle"] == f"{base}/encoder"
    listed = result("cache", "list")
    assert [(entry["path"], entry["size"]) for entry in listed["entries"]] == [(found["directory"], 5)]
    assert result("cache", "verify") == {
        "root": listed["root"], "broken": 0, "entries": [{**listed["entries"][0], "problems": []}],
    }  # fmt: skip
    with open(os.path.join(found["directory"], "saved_model.pb"), "wb") as file:
        file.write(b"GRAPH")
    verified = result("cache", "verify", found["handle"], code=1)
    assert (verified["broken"], verified["entries"][0]["problems"]) == (1, ["changed: saved_model.pb"])
    removed = result("cache", "remove", found["handle"])
    assert [entry["key"] for entry in removed["removed"]] == [listed["entries"][0]["key"]]
    archive = tmp_path / "m.tar.gz"
    packed = result("pack", model, archive)
    assert packed == {"archive": str(archive), "sha256": sha256_of(archive), "size": archive.stat().st_size}


def test_a_failure_prints_no_json(tmp_path, capsys):
    assert main.main(["resolve", str(tmp_path / "nothing"), "--json"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "There is nothing at this path." in printed.err


def test_doctor_of_the_installation_ends_with_a_count(monkeypatch, capsys):
    found = [Finding("Keras", "ok", "3.15"), Finding("cache", "warning", "full", "rm x")]
    monkeypatch.setattr(installation, "check", lambda: found)
    monkeypatch.setattr(cache_and_network, "check", list)
    assert main.main(["doctor"]) == 0
    assert capsys.readouterr().out == (
        "ok       Keras  3.15\nwarning  cache  full\n                rm x\n\nno problems, 1 warning\n"
    )
    found.append(Finding("GPU", "problem", "gone"))
    assert main.main(["doctor", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["ok"] is False
    assert data["findings"][1] == {"topic": "cache", "level": "warning", "text": "full", "fix": "rm x"}


def test_doctor_shows_each_finding_on_a_terminal_as_soon_as_it_is_known(monkeypatch, capsys):
    def check():
        yield Finding("Python", "ok", "3.11")
        shown.append(capsys.readouterr().out)
        yield Finding("tensorflow-text", "warning", "old", "pip install x")

    shown = []
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(installation, "check", check)
    monkeypatch.setattr(cache_and_network, "check", list)
    assert main.main(["doctor"]) == 0
    assert shown == ["ok       Python           3.11\n"]
    assert capsys.readouterr().out == (
        "warning  tensorflow-text  old\n                          pip install x\n\nno problems, 1 warning\n"
    )


def test_doctor_of_a_handle_shows_what_a_list_of_findings_would(produced, monkeypatch, capsys):
    handle = produced(producers.half_plus_one, True)
    monkeypatch.setenv("COLUMNS", "200")
    main.main(["doctor", handle])
    at_the_end = capsys.readouterr().out
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    main.main(["doctor", handle])
    assert capsys.readouterr().out == at_the_end


def test_doctor_sees_this_installation_in_a_process_of_its_own(monkeypatch):
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    done = run("doctor", "--json")
    topics = {finding["topic"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert topics["backend"]["level"] == topics["TensorFlow"]["level"] == topics["Keras"]["level"] == "ok"
    assert done.stderr.splitlines()[-1].split() == ["imported"]


def test_doctor_of_a_handle_gives_code_and_notices_what_fails(produced, tmp_path, capsys):
    handle = produced(producers.half_plus_one, True)
    assert main.main(["doctor", handle, "--input", "3,1:float32"]) == 0
    printed = capsys.readouterr().out
    assert "ok       call       float32 (3, 1) -> float32 (3, 1)" in printed
    assert "To go on with:\n\nimport keras\n" in printed
    assert f"layers.HubLayer({handle!r}, trainable=True)" in printed
    assert main.main(["doctor", handle, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["handle"], data["ok"], len(data["findings"])) == (handle, True, 8)
    assert main.main(["doctor", str(tmp_path / "nothing")]) == 1
    printed = capsys.readouterr().out
    assert "1 problem, no warnings" in printed
    assert "To go on with" not in printed


@pytest.mark.parametrize("command", ["inspect", "doctor"])
def test_tags_choose_one_of_several_graphs(command, produced, capsys):
    handle = produced(producers.several_graphs)
    assert main.main([command, handle, "--tags", "train,gpu"]) == 0
    assert "output_key='y', tags=['train', 'gpu'])" in capsys.readouterr().out


def test_doctor_of_a_handle_on_a_broken_installation_sends_to_the_doctor_of_the_installation(
    produced, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "keras_hub_layers._src.cli.doctor.layer_check", None)
    monkeypatch.delattr(doctor, "layer_check", raising=False)
    assert main.main(["doctor", produced(producers.half_plus_one, True)]) == 1
    printed = capsys.readouterr().out
    assert "\nproblem  import   ModuleNotFoundError: " in printed
    assert "                  keras-hub-layers doctor\n" in printed


@pytest.mark.parametrize("error", [ImportError("libcudart is missing"), ValueError("Unable to import backend")])
def test_without_tensorflow_what_loads_says_so_and_inspect_does_without(error, produced, monkeypatch, capsys):
    def fail(name):
        raise error

    path = str(produced(producers.half_plus_one, True))
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(terminal.importlib, "import_module", fail)
    assert main.main(["inspect", path]) == 0
    assert "fine-tunable" in capsys.readouterr().out
    assert main.main(["demo", path]) == 1
    printed = capsys.readouterr().err
    assert "TensorFlow cannot be imported." in printed
    assert f"Received: {type(error).__name__}: {error}" in printed
    assert "What to do: keras-hub-layers doctor" in printed


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_the_commands_and_completes_files(shell, capsys):
    pytest.importorskip("shtab")
    assert main.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("inspect", "doctor", "verify", "sha256"):
        assert word in script
    assert {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "/f/"}[shell] in script


@pytest.fixture
def cached(model, tmp_path, monkeypatch):
    """A cache with one entry whose handle a shell would run, if it could, and a program beside it."""
    handle = "https://host/$(touch${IFS}ran)/encoder"
    Cache().put(handle, lambda work: (str(shutil.copytree(model, os.path.join(work, "m"))), None))
    program = tmp_path / "bin" / "keras-hub-layers"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m keras_hub_layers "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.chdir(tmp_path)
    return handle


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_cached_handles_after_the_colon_too(cached, capsys):
    pytest.importorskip("shtab")
    main.main(["completion", "bash"])
    script = capsys.readouterr().out
    script += """
complete_line() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  _shtab_keras_hub_layers; echo "${COMPREPLY[@]}"
}
complete_line keras-hub-layers cache remove https://ho
complete_line keras-hub-layers inspect h
complete_line keras-hub-layers resolve mod
[[ $COMP_WORDBREAKS == *:* ]] || echo whole
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [cached, cached, "models", "whole"], done.stderr
    assert not os.path.exists("ran")


def test_completion_without_its_package_gives_the_line_that_installs_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main.main(["completion", "bash"]) == 1
    assert 'pip install "keras-hub-layers[completion]"' in capsys.readouterr().err


def test_each_command_has_examples_that_its_parser_takes(monkeypatch):
    for name, command in parser.COMMANDS.items():
        lines = [line.strip() for line in command.examples.partition("examples:\n")[2].splitlines()]
        examples = [line for line in lines if line.startswith("keras-hub-layers ")]
        assert examples, name
        for line in examples:
            words = shlex.split(line.partition(" | ")[0].partition(" > ")[0], comments=True)[1:]
            chosen = parser.build_parser().parse_args(words)
            assert callable(chosen.run), line
            assert " ".join(words).startswith(name), line


def test_help_fits_a_terminal(capsys):
    for words in ([], *(name.split() for name in parser.COMMANDS)):
        with pytest.raises(SystemExit, match="0"):
            main.main([*words, "--help"])
        text = capsys.readouterr().out
        prose = text.partition("examples:")[0]  # what is pasted stays in one line
        assert max(map(len, prose.splitlines())) <= 80, words
        assert "Exit codes" in text or "examples:" in text


def test_what_libraries_write_on_import_is_kept_back_unless_it_fails(capfd):
    with terminal.hold_stderr():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""

    def fail():
        with terminal.hold_stderr():
            os.write(2, b"the reason\n")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert capfd.readouterr().err == "the reason\n"


def test_a_reader_that_has_enough_is_no_error(model):
    code = f"{sys.executable} -m keras_hub_layers resolve {model} | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", code], check=False).returncode == 0


def shell(line, **environment):
    """What the program prints and returns when a shell starts it, `{}` for the program."""
    program = f"{shlex.quote(sys.executable)} -m keras_hub_layers"
    return subprocess.run(
        ["bash", "-c", line.format(program)],
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="of Linux")
@pytest.mark.parametrize("command", ["resolve", "resolve --json", "serve --port 0"])
def test_an_output_that_cannot_be_written_is_one_line_on_stderr(command, model):
    done = shell(f"{{}} {command} {shlex.quote(str(model))} > /dev/full")
    assert (done.returncode, done.stderr.decode()) == (1, "keras-hub-layers: [Errno 28] No space left on device\n")


def test_a_closed_output_is_one_line_on_stderr(model):
    done = shell(f"{{}} resolve {shlex.quote(str(model))} >&-")
    assert done.returncode == 1
    assert done.stderr == b"keras-hub-layers: the standard output is closed, so nothing can be printed\n"


def test_a_closed_standard_error_hinders_nothing(produced):
    done = shell(f"{{}} inspect {shlex.quote(produced(producers.plus_one))} 2>&-")
    assert done.returncode == 0
    assert b"HubLayer(" in done.stdout


def test_what_a_terminal_cannot_show_is_escaped_as_python_writes_it(produced):
    words = f"inspect {shlex.quote(produced(producers.plus_one))}"  # its shape is shown as (…)
    done = shell(f"{{}} {words}", PYTHONIOENCODING="ascii")
    assert (done.returncode, b"float32 (\\u2026)" in done.stdout) == (0, True)
    assert "float32 (…)" in shell(f"{{}} {words}", PYTHONIOENCODING="utf-8").stdout.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_a_path_of_bytes_that_are_no_text_is_printed_as_it_is(model):
    odd = os.fsencode(model.parent) + b"/\xff"
    os.rename(model, odd)
    done = shell("{} resolve " + shlex.quote(os.fsdecode(odd)), PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout) == (0, odd + b"\n")
