"""Whatever a server does, a download is whole, refused, or given up in bounded time; nothing is left behind."""

import hashlib
import os
import random
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
import requests
from faults import ETAG, FaultyServer
from terminals import Terminal

from keras_hub_layers._src.resolve import download as download_module
from keras_hub_layers._src.resolve.download import download
from keras_hub_layers._src.resolve.http.bounds import Bounds
from keras_hub_layers._src.text import progress
from keras_hub_layers.errors import ChecksumError, DownloadError, HandleNotFoundError, HubError

PAYLOAD = b"\x1f\x8b" + random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
PATIENT = Bounds(backoff=0, longest_wait=5)
HASTY = Bounds(attempts=1, connect=0.2, silence=0.2, backoff=0, min_speed=1e6)


@pytest.fixture(scope="module")
def server():
    with FaultyServer(PAYLOAD) as running:
        yield running


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive"


def fetch(server, fault, path, bounds=PATIENT, **options):
    server.seen.clear()
    server.asked.clear()
    return download(f"{server.base}/{fault}", path, bounds=bounds, **options)


@pytest.mark.parametrize(
    "fault",
    ["ok", "no-length", "chunked", "encoded", "redirect/10", "odd-length/-5", "odd-length/many"],
)
def test_a_body_arrives_as_it_is(server, path, fault):
    done = fetch(server, fault, path)
    assert path.read_bytes() == PAYLOAD
    assert (done.sha256, done.size) == (SHA256, len(PAYLOAD))


def test_the_url_that_answered_in_the_end_is_told(server, path):
    assert fetch(server, "redirect/1", path).url == f"{server.base}/ok"


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_passing_troubles_of_the_server_are_retried(server, path, code):
    fetch(server, f"flaky/{code}/3", path)
    assert path.read_bytes() == PAYLOAD
    assert len(server.asked) == 4


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_lasting_troubles_of_the_server_end_after_three_retries(server, path, code):
    with pytest.raises(DownloadError, match=rf"HTTP {code} Nope \(attempt 4;"):
        fetch(server, f"status/{code}", path)
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (400, DownloadError, "open the address in a browser"),
        (401, DownloadError, "give credentials"),
        (403, DownloadError, "accept its licence"),
        (404, HandleNotFoundError, "check the path '/status/404': its spelling"),
        (410, HandleNotFoundError, "was taken away"),
        (204, DownloadError, "open the address"),
        (304, DownloadError, "open the address"),
    ],
)
def test_what_another_attempt_cannot_mend_is_said_at_once(server, path, code, error, advice):
    with pytest.raises(error, match=rf"(?s)HTTP {code} Nope.*{advice}"):
        fetch(server, f"status/{code}", path)
    assert len(server.asked) == 1


@pytest.mark.parametrize(("code", "offered"), [(404, False), (410, False), (403, True)])
def test_a_command_that_asks_again_is_offered_only_where_another_answer_may_come(server, path, code, offered):
    with pytest.raises(DownloadError if offered else HandleNotFoundError, match=f"HTTP {code}") as caught:
        fetch(server, f"status/{code}", path)
    assert ("curl" in str(caught.value)) == offered


@pytest.fixture
def waits(monkeypatch):
    """The seconds that would have been waited."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def test_a_wait_that_the_server_asks_for_is_kept(server, path, waits):
    fetch(server, "flaky/503/1/7", path, Bounds())
    assert waits == [7]


@pytest.mark.parametrize("wait", ["soon", "-1", "9" * 30])
def test_without_a_wait_that_can_be_read_each_wait_doubles(server, path, wait, waits):
    fetch(server, f"flaky/503/3/{wait}", path, Bounds())
    assert waits == [0.5, 1, 2]


def test_a_wait_that_is_over_is_none(server, path, waits):
    fetch(server, "flaky/503/1/Fri, 31 Dec 1999 23:59:59 GMT".replace(" ", "%20"), path, Bounds())
    assert waits == [0]


@pytest.mark.parametrize("wait", ["61", "Fri,%2031%20Dec%202100%2023:59:59%20GMT"])
def test_a_wait_beyond_measure_is_told_instead_of_kept(server, path, wait, waits):
    with pytest.raises(DownloadError, match=r"attempt 1.*the server asks to wait \d+ s"):
        fetch(server, f"status/429/{wait}", path, Bounds())
    assert waits == []


def test_a_broken_transfer_is_resumed_where_it_stopped(server, path):
    fetch(server, "truncated/once", path)
    assert path.read_bytes() == PAYLOAD
    assert server.asked[1].headers["range"] == f"bytes={len(PAYLOAD) // 2}-"
    assert server.asked[1].headers["if-range"] == ETAG


@pytest.mark.parametrize("how", ["no-etag", "weak"])
def test_without_proof_that_the_rest_belongs_to_it_a_transfer_starts_again(server, path, how):
    fetch(server, f"truncated/{how}", path)
    assert path.read_bytes() == PAYLOAD
    assert "range" not in server.asked[1].headers


@pytest.mark.parametrize(
    "how",
    ["changed", "wrong-start", "wrong-total", "wrong-etag", "no-content-range", "garbage-range", "gone-416"],
)
def test_a_wrong_rest_is_never_joined_to_the_start(server, path, how):
    done = fetch(server, f"truncated/{how}", path)
    assert path.read_bytes() == PAYLOAD
    assert done.sha256 == SHA256


def test_a_shorter_answer_replaces_a_longer_start(server, path):
    done = fetch(server, "truncated/shrunk", path)
    assert path.read_bytes() == PAYLOAD[:10]
    assert done.sha256 == hashlib.sha256(PAYLOAD[:10]).hexdigest()


def test_a_transfer_that_breaks_again_and_again_is_given_up(server, path):
    with pytest.raises(DownloadError, match=r"IncompleteRead.*attempt 4"):
        fetch(server, "truncated/always", path)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("lying-length/1000", "IncompleteRead|closed after"),
        ("chunked/cut", "IncompleteRead|InvalidChunkLength|closed"),
        ("closed", "RemoteDisconnected|closed"),
        ("garbage", "BadStatusLine|BadStatus"),
        ("headers/huge", "LineTooLong|header line"),
        ("headers/many", "100 headers"),
        ("headers/endless", "headers"),
    ],
)
def test_a_connection_that_breaks_is_given_up_after_three_retries(server, path, fault, reason):
    with pytest.raises(DownloadError, match=reason):
        fetch(server, fault, path)
    assert len(server.asked) == 4
    assert not path.exists()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("stall/start", "timed out|no answer"),
        ("stall/headers", "timed out|no answer"),
        ("stall/body", "timed out"),
        ("trickle/headers", "no answer within 0.2 s"),
        ("trickle/body", "only .* bytes in"),
        ("continues", "no answer within 0.2 s"),
    ],
)
def test_silence_and_trickles_end_in_bounded_time(path, fault, reason):
    with FaultyServer(PAYLOAD) as server, pytest.raises(DownloadError, match=reason):
        fetch(server, fault, path, HASTY)
    assert not path.exists()


class Time:
    """A clock that nobody waits for: it goes on by what is slept, and by `step` whenever it is looked at."""

    def __init__(self, step=0.0):
        self.now, self.step, self.slept = 0.0, step, []

    def __call__(self):
        self.now += self.step
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


@pytest.mark.parametrize("wait", [50, 59])
def test_all_tries_and_waits_together_end_within_120_seconds_without_progress(server, path, clock, wait):
    with pytest.raises(DownloadError, match=r"the server asks to wait .* s; a call goes on for 120 s without progress"):
        fetch(server, f"status/503/{wait}", path, Bounds(clock=clock))
    assert clock.slept == [wait, wait]
    assert clock.now <= 120
    assert len(server.asked) == 3


def test_a_trickle_is_left_after_120_seconds(path):
    clock = Time(step=1.0)  # each look at it takes a second
    with FaultyServer(PAYLOAD) as server, pytest.raises(DownloadError, match=r"only \d+ bytes in the last 60 s"):
        fetch(server, "trickle/body", path, Bounds(clock=clock, backoff=0))
    assert 100 < clock.now <= 130


def test_a_server_that_never_replies_is_left_after_120_seconds(path, clock, monkeypatch):
    waits = []

    def wait(self, url, *, timeout, **options):
        waits.append(timeout)
        clock.now += timeout[1]
        raise requests.ReadTimeout("timed out")

    monkeypatch.setattr(requests.Session, "get", wait)
    with pytest.raises(DownloadError, match=r"timed out \(attempt 4;"):
        download("http://127.0.0.1/m", path, bounds=Bounds(clock=clock))
    assert [connect for connect, _ in waits] == [min(20, reply) for _, reply in waits]
    assert waits[0] == (20, 60)
    assert 100 < clock.now <= 120


def test_what_makes_progress_may_take_as_long_as_it_needs(path):
    clock = Time(step=2.0)
    with FaultyServer(b"\x1f\x8b" + random.Random(0).randbytes(40_000_000)) as server:
        done = fetch(server, "ok", path, Bounds(clock=clock))
    assert done.size == 40_000_002
    assert clock.now > 240


def test_a_rate_below_the_minimum_is_no_progress(path):
    clock = Time(step=2.0)
    with (
        FaultyServer(b"\x1f\x8b" + random.Random(0).randbytes(40_000_000)) as server,
        pytest.raises(DownloadError, match=r"only \d+ bytes in the last 60 s.*120 s without progress|attempt 4"),
    ):
        fetch(server, "ok", path, Bounds(clock=clock, min_speed=1e6, backoff=0))
    assert clock.now <= 130


def test_a_rest_longer_than_announced_ends_at_once(path):
    with FaultyServer(PAYLOAD) as server, pytest.raises(DownloadError, match="sends more than it announced"):
        fetch(server, "longer", path)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/plain"])
def test_a_page_instead_of_an_archive_is_shown_and_refused(server, path, kind):
    with pytest.raises(DownloadError, match=rf"(?s)HTTP 200 OK, Content-Type {kind}.*<title>Sign in</title>"):
        fetch(server, f"html/{kind}", path)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x1f\x8b\x08", b"m".ljust(257, b"\0") + b"ustar\0"])
def test_an_archive_is_taken_whatever_type_the_server_gives_it(path, start):
    with FaultyServer(start) as server:
        fetch(server, "typed/text/html", path)
    assert path.read_bytes() == start


def test_an_empty_body_is_refused(server, path):
    with pytest.raises(DownloadError, match="the body is empty"):
        fetch(server, "empty", path)


def test_a_part_that_nobody_asked_for_is_refused(server, path):
    with pytest.raises(DownloadError, match="HTTP 206 Partial"):
        fetch(server, "unasked-206", path)


@pytest.mark.parametrize("fault", ["endless", "announced/1000001"])
def test_a_body_larger_than_allowed_is_refused(server, path, fault):
    with pytest.raises(DownloadError, match="at most 1000000 bytes"):
        fetch(server, fault, path, Bounds(max_bytes=1_000_000))
    assert not path.exists()


def test_a_body_larger_than_the_disk_is_refused_before_it_comes(server, path):
    with pytest.raises(DownloadError, match="The disk has no room"):
        fetch(server, f"announced/{10**15}", path, Bounds(max_bytes=10**16))


def test_a_full_disk_is_an_error_of_the_disk_and_leaves_nothing(server, path):
    code = f"""
import resource
from keras_hub_layers._src.resolve.download import download
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    download({server.base + "/ok"!r}, {str(path)!r})
except OSError as error:
    print(type(error).__name__, error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "OSError"
    assert not path.exists()


def test_a_pin_is_compared_without_regard_to_case(server, path):
    fetch(server, "ok", path, sha256=SHA256.upper())
    with pytest.raises(ChecksumError, match=rf"(?s)SHA-256 {'0' * 64}.*SHA-256 {SHA256}.*sha256='{SHA256}'"):
        fetch(server, "ok", path, sha256="0" * 64)
    assert not path.exists()


def test_nobody_there_is_given_up_after_three_retries(path):
    with pytest.raises(DownloadError, match=r"Connection refused.*attempt 4"):
        download("http://127.0.0.1:9/m", path, bounds=PATIENT)


def test_errors_show_no_password(server, path):
    url = f"{server.base}/status/403".replace("//", "//ada:secret@")
    with pytest.raises(DownloadError, match=r"\*\*\*@127") as caught:
        download(url, path, bounds=PATIENT)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("fault", ["ok", "truncated/no-etag", "status/404", "closed"])
def test_no_hashing_thread_outlives_its_transfer(server, path, fault):
    with suppress(HubError):
        fetch(server, fault, path)
    assert not [thread.name for thread in threading.enumerate() if "sha256" in thread.name]


def test_a_bar_is_shown_when_asked_for_and_not_otherwise(server, path, capsys, monkeypatch):
    fetch(server, "ok", path)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", "1")
    fetch(server, "ok", path)
    out, err = capsys.readouterr()
    assert out == ""
    assert "302.0/302.0" in err or "300.0/300.0" in err


@pytest.mark.parametrize("columns", [60, 80])
def test_a_terminal_shows_bar_size_and_speed_however_long_the_url_is(server, path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(download_module, "_SHOW_AFTER", 0)
    with progress.write_to(Terminal()) as terminal:
        fetch(server, "ok/a-long-name/of-a-model" + "/and-a-part-of-it" * 5 + "?signature=1234", path)
    state = terminal.screen()
    assert len(state) < columns
    assert re.fullmatch(r"127\S*…\S*-of-it  ━+  300\.0/300\.0 kB  [\d.]+ .?B/s  \d:\d\d", state)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peak memory is read from /proc")
def test_memory_stays_flat(tmp_path):
    code = r"""
import re, sys
from keras_hub_layers._src.resolve.download import download
def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\s*(\d+)", status.read())[1])

download(sys.argv[1] + "/ok", sys.argv[2])
before = peak()
download(sys.argv[3] + "/ok", sys.argv[2])
print(peak() - before)
"""
    with FaultyServer(PAYLOAD) as small, FaultyServer(PAYLOAD * 200) as large:
        command = [sys.executable, "-c", code, small.base, str(tmp_path / "a"), large.base]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8_000  # kB; the archive has 60 000
    assert os.path.getsize(tmp_path / "a") == 200 * len(PAYLOAD)
