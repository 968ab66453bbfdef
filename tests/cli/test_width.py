"""What is printed is as wide as the terminal, and neither words nor lines of code are split."""

import io
import os
import pty
import subprocess
import sys
import termios

import producers
import pytest

from keras_hub_layers import inspect
from keras_hub_layers._src.cli import main, parser, terminal
from keras_hub_layers._src.cli.doctor import finding
from keras_hub_layers._src.inspect import table
from keras_hub_layers.errors import HandleError

WIDTHS = (60, 80, 120, 200)


def help_of(words, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit, match="0"):
        main.main([*words, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["", *parser.COMMANDS])
def test_help_is_as_wide_as_the_terminal_and_says_the_same(name, monkeypatch, capsys):
    texts = {width: help_of(name.split(), width, monkeypatch, capsys) for width in WIDTHS}
    for width, text in texts.items():
        prose, _, examples = text.partition("examples:\n")
        assert max(map(len, prose.splitlines())) <= width, name
        assert prose.partition("\n\n")[2].split() == texts[80].partition("examples:")[0].partition("\n\n")[2].split()
        assert examples == texts[80].partition("examples:\n")[2]
    assert max(map(len, texts[200].splitlines())) > max(map(len, texts[60].partition("examples:")[0].splitlines()))


def test_the_width_is_bounded_so_that_lines_stay_readable(monkeypatch):
    for given, width in {"20": 60, "60": 60, "131": 131, "500": 200, "no number": 80}.items():
        monkeypatch.setenv("COLUMNS", given)
        assert terminal.columns() == width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_a_savedmodel_fits_and_its_code_is_whole(width, produced):
    info = inspect(produced(producers.small_image_model))
    lines = str(table.table(info, width)).splitlines()
    code = [line for line in lines if info.handle in line]
    assert any(line.endswith(info.code) for line in code)
    assert max(len(line) for line in lines if line not in code) <= width
    assert " ".join(info.reason.split()) in " ".join(" ".join(lines).split())
    assert str(table.table(info)) == str(info)


def test_findings_are_wrapped_between_words_and_their_fixes_are_not():
    text, fix = "one two-three " * 20, "pip install " + "x" * 100
    for width in WIDTHS:
        lines = str(finding.table([finding.Finding("Keras", "problem", text, fix)], width=width)).splitlines()
        assert max(map(len, lines[:-1])) <= width
        assert lines[-1].strip() == fix
        assert " ".join(lines[:-1]).split()[2:] == text.split()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_an_error_is_wrapped_between_words_on_a_terminal_and_its_fix_is_not(monkeypatch):
    fix = f"HubLayer({'/a' * 60!r})"
    error = HandleError("one two " * 20, expected="three four\n" + "five six " * 20, fix=fix)
    printed = Terminal()
    monkeypatch.setattr(sys, "stderr", printed)
    monkeypatch.setenv("COLUMNS", "60")
    terminal.print_error(error)
    *told, last = printed.getvalue().splitlines()
    assert max(map(len, told)) <= 60
    assert last == f"  What to do: {fix}"
    assert printed.getvalue().split() == f"keras-hub-layers: {error}".split()
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    terminal.print_error(error)
    assert file.getvalue() == f"keras-hub-layers: {error}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_real_terminal_is_asked_for_its_width():
    main_end, end = pty.openpty()
    termios.tcsetwinsize(end, (40, 132))
    code = "from keras_hub_layers._src.cli import terminal\nprint(terminal.columns())"
    settings = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run([sys.executable, "-c", code], stdout=end, env=settings, check=True)
    os.close(end)
    assert os.read(main_end, 100).split() == [b"132"]
    os.close(main_end)
