"""The command line prints what was asked for, says what failed, and imports no more than it needs."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from keras_hub_layers import __version__, cli
from keras_hub_layers.manifests import sha256_of
from keras_hub_layers.servers import running

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
        "from keras_hub_layers.cli import main\n"
        "sys.exit(main())"
    )
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)


def test_resolve_prints_the_directory_and_nothing_else(model, capsys):
    assert cli.main(["resolve", str(model)]) == 0
    assert capsys.readouterr().out == f"{model}\n"


def test_resolve_over_http_twice_gives_one_cached_directory(model, capsys):
    with running(model.parent) as base:
        assert cli.main(["resolve", f"{base}/encoder"]) == 0
    assert cli.main(["resolve", f"{base}/encoder"]) == 0
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
    [[], ["bake"], ["resolve"], ["cache"], ["cache", "remove"], ["pack", "a"], ["serve", "d", "--port", "x"]],
)
def test_wrong_usage_leaves_with_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert "usage: keras-hub-layers" in capsys.readouterr().err


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"keras-hub-layers {__version__}\n"


@pytest.mark.parametrize(
    ("words", "imported"),
    [
        (["resolve", "{model}"], ""),
        (["cache", "list"], ""),
        (["cache", "verify"], ""),
        (["pack", "{model}", "{model}/../m.tar.gz"], ""),
        (["--help"], ""),
        (["serve", "{model}/nothing"], "werkzeug"),
        (["resolve", "http://127.0.0.1:9/m"], ""),
    ],
)
def test_commands_without_a_model_to_load_import_neither_tensorflow_nor_keras(words, imported, model, monkeypatch):
    monkeypatch.setenv("KERAS_HUB_LAYERS_OFFLINE", "1")
    done = run(*(word.format(model=model) for word in words))
    assert done.stderr.splitlines()[-1].split() == ["imported", *imported.split()]


def test_the_cache_is_listed_verified_and_emptied(model, capsys):
    with running(model.parent) as base:
        cli.main(["resolve", f"{base}/encoder"])
    directory = capsys.readouterr().out.strip()
    assert cli.main(["cache", "list"]) == 0
    assert f"{base}/encoder" in capsys.readouterr().out
    assert cli.main(["cache", "verify"]) == 0
    assert capsys.readouterr().out == f"ok: {base}/encoder\n"
    with open(os.path.join(directory, "saved_model.pb"), "wb") as file:
        file.write(b"GRAPH")
    assert cli.main(["cache", "verify", f"{base}/encoder"]) == 1
    assert "changed: saved_model.pb" in capsys.readouterr().out
    assert cli.main(["cache", "remove", f"{base}/encoder"]) == 0
    assert not os.path.exists(directory)
    assert cli.main(["cache", "remove", f"{base}/encoder"]) == 1
    assert "not in the cache" in capsys.readouterr().err


def test_pack_prints_the_checksum_to_pin(model, tmp_path, capsys):
    archive = tmp_path / "m.tar.gz"
    assert cli.main(["pack", str(model), str(archive)]) == 0
    assert capsys.readouterr().out == f"{sha256_of(archive)}  {archive}\n"


def test_a_dry_run_of_publish_shows_what_would_be_sent(model, capsys):
    assert cli.main(["publish", str(model), "hf://owner/repo", "--dry-run"]) == 0
    assert capsys.readouterr().out == "would publish hf://owner/repo\n           5  saved_model.pb\n"


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
        process.send_signal(signal)
        _, log = process.communicate()
    assert process.returncode == 0
    assert '"GET /encoder?tf-hub-format=compressed HTTP/1.1" 200' in log
    assert "Traceback" not in log
    assert os.listdir(tmp_path / "tmp") == []


def test_inspect_prints_a_table_or_json(zoo, capsys):
    handle = str(zoo / "serving_half_plus_two_tf2")
    assert cli.main(["inspect", handle]) == 0
    assert "serving_default" in capsys.readouterr().out
    assert cli.main(["inspect", handle, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["handle"] == handle


def test_a_reader_that_has_enough_is_no_error(model):
    code = f"{sys.executable} -m keras_hub_layers resolve {model} | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", code], check=False).returncode == 0
