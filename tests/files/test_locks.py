"""Whoever holds a lock is waited for while it lives; without a lock the work is done all the same."""

import os
import threading

import filelock
import pytest

from keras_hub_layers._src.files import locks
from keras_hub_layers._src.files.deadline import Deadline
from keras_hub_layers._src.files.locks import hold


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "locks" / "one")


def test_one_holds_it_at_a_time(path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with hold(path, list):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1


def test_it_is_released_when_the_body_fails(path):
    with pytest.raises(ValueError, match="the body"), hold(path, list):
        raise ValueError("the body")
    with filelock.FileLock(path, timeout=0):
        pass


def test_a_holder_that_shows_signs_of_life_is_waited_for_and_a_dead_one_is_not(path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.01)
    seen = iter([1, 2, 3, 3])
    with hold(path, list), hold(path, lambda: next(seen)):
        assert list(seen) == []


def test_a_sign_of_life_of_the_holder_is_progress_of_the_call_that_waits(path):
    deadline = Deadline(0.02)
    seen, left = iter([1, 2, 2]), []
    with hold(path, list), hold(path, lambda: left.append(deadline.left()) or next(seen), deadline):
        assert list(seen) == []
        assert deadline.left() < 0.02
    assert len(left) == 3


@pytest.mark.parametrize("error", [PermissionError("not yours"), NotImplementedError("no locks here")])
def test_where_locks_cannot_be_had_the_body_runs_without(path, monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with hold(path, list):
        pass


def test_an_error_of_the_body_is_not_taken_for_one_of_the_lock(path):
    with pytest.raises(PermissionError, match="the body"), hold(path, list):
        raise PermissionError("the body")


def test_a_directory_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").touch()
    with hold(str(tmp_path / "file" / "lock"), list):
        assert os.path.isfile(tmp_path / "file")
