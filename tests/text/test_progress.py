"""A line says what long work does: on terminals, in notebooks, and not where nobody looks on."""

import io
import re

import nbformat
import pytest
from nbclient import NotebookClient
from terminals import Terminal

from keras_hub_layers._src.publish.server import serve_in_thread
from keras_hub_layers._src.text import progress as lines
from keras_hub_layers._src.text.progress import progress

URL = "tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5"
KERNEL = """
from keras_hub_layers._src.resolve import download
from keras_hub_layers._src.text.progress import progress
download._SHOW_AFTER = 0
with progress("loading <encoder>", "examples", after=0) as advance:
    advance(1, 4)
%%
import keras_hub_layers as khl
directory = khl.resolve("{base}/encoder")
"""


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns as the standard error."""
    monkeypatch.setenv("COLUMNS", "80")
    with lines.write_to(Terminal()) as terminal:
        yield terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set: `clock[0] = 8.0`."""
    now = [0.0]
    monkeypatch.setattr(lines, "_clock", lambda: now[0])
    return now


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_long_url_leaves_room_for_bar_size_speed_and_the_time_that_is_left(terminal, clock, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    with progress(URL, "B", after=0) as advance:
        advance(54_000_000, 108_000_000)
        clock[0] = 4.0
        lines._lines[-1]._show()
        state = terminal.screen()
    assert len(state) < columns
    assert re.fullmatch(r"tf\S+…\S+or/5  ━+─+  54\.0/108\.0 MB  13\.5 MB/s  0:04 left", state)
    assert state.count("━") == state.count("─") >= 4


def test_a_narrow_terminal_keeps_the_title_and_the_figures(terminal, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    with progress(URL, "examples", after=0) as advance:
        advance(5, 10)
        lines._lines[-1]._show()
        assert re.fullmatch(r"tf\S+…\S+tor/5  5/10 examples  0:00 left", terminal.screen())


def test_the_line_is_gone_at_the_end_unless_it_is_to_be_kept(terminal):
    with progress("loading a", after=0):
        assert terminal.screen() == "loading a  0:00"
    assert terminal.screen() == ""
    with progress("a.tar.gz", "B", after=0, keep=True) as advance:
        advance(2000, 2000)
    assert re.match(r"a\.tar\.gz  ━+  2\.0/2\.0 kB", terminal.screen())
    with pytest.raises(KeyError, match="x"), progress("b.tar.gz", after=0, keep=True):
        raise KeyError("x")
    assert "b.tar.gz" not in terminal.screen()


def test_work_that_is_done_soon_says_nothing(terminal):
    with progress("loading a"), progress("b", keep=True):
        pass
    assert terminal.getvalue() == ""


def test_work_within_work_has_the_line_while_it_goes_on(terminal):
    with progress("outer", after=0):
        with progress("waits for its time"):
            lines._lines[-1]._show()
            assert terminal.screen().startswith("outer")
        with progress("inner", after=0):
            assert terminal.screen().startswith("inner")
            lines._lines[0]._show()
            assert terminal.screen().startswith("inner")
        lines._lines[-1]._show()
        assert terminal.screen().startswith("outer")


def test_a_terminal_without_unicode_gets_other_characters(terminal, monkeypatch):
    monkeypatch.setattr(Terminal, "encoding", "ascii")
    with progress("a" * 100, "B", after=0, keep=True) as advance:
        advance(1, 1)
    assert terminal.getvalue().isascii()
    assert "====" in terminal.screen()


@pytest.mark.parametrize("value", ["0", "false", "off"])
def test_nothing_is_shown_where_it_is_not_wanted(terminal, monkeypatch, value):
    with lines.silence(), progress("a", after=0, keep=True):
        pass
    with lines.silence(False), lines.silence(), lines.silence(False), progress("a", after=0, keep=True):
        pass
    monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", value)
    with progress("a", after=0, keep=True):
        pass
    assert terminal.getvalue() == ""


def test_a_log_gets_the_last_state_where_the_environment_asks_for_it(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(lines.sys, "stderr", log)
    for value in ("", "1"):
        monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", value)
        with progress("loading a", after=0), progress("a.tar.gz", "B", after=0, keep=True) as advance:
            advance(3, 3)
    assert re.fullmatch(r"a\.tar\.gz  [^\n\r]*  3/3 B.*\n", log.getvalue())


def test_a_notebook_shows_a_bar_for_a_download_and_a_line_for_other_work(tmp_path, monkeypatch):
    """In a kernel of its own, without TensorFlow."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "models" / "encoder").mkdir(parents=True)
    (tmp_path / "models" / "encoder" / "saved_model.pb").write_bytes(b"graph")
    with serve_in_thread(tmp_path / "models") as base:
        cells = [nbformat.v4.new_code_cell(code) for code in KERNEL.replace("{base}", base).split("%%\n")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    (work,), (download,) = (cell.outputs for cell in notebook.cells)
    assert work.output_type == download.output_type == "display_data"
    assert 'loading &lt;encoder&gt; <progress value="0.250"' in work.data["text/html"]
    assert "1/4 examples  0:00" in work.data["text/plain"]
    assert "left" not in work.data["text/plain"]  # it has ended
    assert f'{base.removeprefix("http://")}/encoder <progress value="1.000"' in download.data["text/html"]
