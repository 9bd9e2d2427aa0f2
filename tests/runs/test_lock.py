"""One training at a time in a run folder: whoever the owner is, and however it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from esrgan_jax.errors import CheckpointError, ConfigError
from esrgan_jax.runs import lock
from esrgan_jax.runs.lock import LOCK_FILE, Owner, RunLock, check_free

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from esrgan_jax.runs.lock import RunLock
from esrgan_jax.system.exit import exit_now
with RunLock(Path(sys.argv[1])):
    print("locked", flush=True)
    {then}
"""


@pytest.fixture
def start(tmp_path):
    """Another process that owns the folder."""
    started = []

    def run(then="time.sleep(60)"):
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER.format(then=then), tmp_path],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "locked\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def write_owner(folder, seconds_ago=0.0, **fields):
    """A lock file that nobody holds, of this process unless fields say otherwise."""
    owner = dataclasses.replace(lock._this_process(), **fields)
    path = folder / LOCK_FILE
    path.write_text(json.dumps(dataclasses.asdict(owner)))
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return owner


def assert_free(folder):
    with RunLock(folder):
        assert json.loads((folder / LOCK_FILE).read_text())["process"] == os.getpid()
    assert not (folder / LOCK_FILE).exists()


def assert_taken(folder, *words):
    before = (folder / LOCK_FILE).read_bytes()
    for claim in (RunLock(folder).__enter__, lambda: check_free(folder)):
        with pytest.raises(ConfigError) as caught:
            claim()
        for word in words:
            assert re.search(word, str(caught.value)), caught.value
    assert (folder / LOCK_FILE).read_bytes() == before
    return str(caught.value)


def test_second_training(start, tmp_path):
    """It is refused for as long as the first one lives, by name; and gets the folder however that one ends."""
    first = start()
    host = re.escape(lock._this_process().host)
    text = assert_taken(
        tmp_path, rf"is being trained by process {first.pid} on {host} since 2\d{{3}}-.*: wait until it ends"
    )
    assert "delete" not in text  # it lives
    first.kill()
    first.wait()
    assert (tmp_path / LOCK_FILE).exists()
    assert_free(tmp_path)


@pytest.mark.parametrize("then", ["pass", "exit_now(3)", "raise KeyboardInterrupt", "sys.exit(1)"])
def test_owner_that_leaves(start, tmp_path, then):
    start(then).wait(30)
    assert not (tmp_path / LOCK_FILE).exists()
    check_free(tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()


def test_twice_in_one_process(tmp_path):
    with RunLock(tmp_path):
        assert_taken(tmp_path, f"process {os.getpid()} on")
    assert_free(tmp_path)


def test_many_at_once(tmp_path):
    """Never two, also while files are deleted and made anew."""
    inside, most, times = [], [], []

    def work():
        for _ in range(30):
            try:
                with RunLock(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.001)
                    inside.pop()
                times.append(1)
            except ConfigError:
                time.sleep(0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(times) > 8
    assert_free(tmp_path)


# Processes of other machines, whose locks this one may not see.


def test_owner_on_another_machine_that_gives_signs_of_life(tmp_path):
    write_owner(tmp_path, 20, host="node7", process=4711, since="2026-01-02 03:04:05 +0000", boot="other")
    assert_taken(
        tmp_path,
        "by process 4711 on node7 since 2026-01-02 03:04:05",
        f"delete {tmp_path / LOCK_FILE}, or try again in (39|40) s",
    )


def test_clock_of_another_machine_that_is_ahead(tmp_path):
    write_owner(tmp_path, -3600, host="node7", boot="other")
    assert_taken(tmp_path, "try again in 60 s")


def test_owner_on_another_machine_that_is_silent(tmp_path):
    write_owner(tmp_path, lock.DEAD_SECONDS + 5, host="node7", boot="other")
    assert_free(tmp_path)


def test_owner_of_this_machine_before_it_was_started_again(tmp_path):
    """The same name and number, another boot; where locks work on one machine that is not worth waiting for."""
    write_owner(tmp_path, lock.DEAD_SECONDS + 5, boot="before")
    assert_free(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipe_in_the_place_of_the_lock(tmp_path):
    os.mkfifo(tmp_path / LOCK_FILE)
    with pytest.raises(OSError), RunLock(tmp_path):
        pass


def test_locks_that_reach_other_machines(start, tmp_path, monkeypatch):
    """Held, they are enough, whatever the time of the file says; the way out is to delete it."""
    start()
    this = lock._this_process()
    monkeypatch.setattr(lock, "_this_process", lambda: dataclasses.replace(this, boot="other"))
    os.utime(tmp_path / LOCK_FILE, (0, 0))
    text = assert_taken(tmp_path, f"If that process is gone, delete {tmp_path / LOCK_FILE}\\.$")
    assert "try again" not in text


# File systems, and systems, without such locks.


@pytest.fixture(params=["file system", "system"])
def no_flock(request, monkeypatch):
    if request.param == "system":
        monkeypatch.setattr(lock, "fcntl", None)
        return

    class Unsupported:
        LOCK_EX = LOCK_NB = 0

        def flock(self, handle, how):
            raise OSError(37, "No locks available")

    monkeypatch.setattr(lock, "fcntl", Unsupported())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_process_of_this_machine_without_locks(no_flock, start, tmp_path):
    other = start()
    assert_taken(tmp_path, f"by process {other.pid} on")
    other.send_signal(signal.SIGSTOP)  # it sleeps, for however long
    os.utime(tmp_path / LOCK_FILE, (0, 0))
    assert_taken(tmp_path, f"by process {other.pid} on")
    other.kill()
    other.wait()
    os.utime(tmp_path / LOCK_FILE)
    assert_free(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_number_of_a_process_that_another_one_has_now(no_flock, tmp_path):
    write_owner(tmp_path, start="1")
    assert_free(tmp_path)


def test_process_in_a_container_without_locks(no_flock, tmp_path):
    """Its number says nothing here."""
    write_owner(tmp_path, 5, namespace="pid:[1]", start="1")
    assert_taken(tmp_path, "is being trained by")
    write_owner(tmp_path, lock.DEAD_SECONDS + 5, namespace="pid:[1]")
    assert_free(tmp_path)


def test_two_that_begin_at_once_without_locks(no_flock, tmp_path, monkeypatch):
    """One of them finds out before it can save."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0)
    with RunLock(tmp_path) as first:
        first.check()
        write_owner(tmp_path, host="node7", process=4711, boot="other")
        with pytest.raises(CheckpointError, match="was taken over by process 4711 on node7 since"):
            first.check()


# What is in the file, and what becomes of it.


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pid": 3}', b"\0" * 20_000, b"\xff"])
def test_file_that_names_nobody(tmp_path, content):
    (tmp_path / LOCK_FILE).write_bytes(content)
    assert_free(tmp_path)


def test_deleted_while_it_is_held(tmp_path, monkeypatch):
    """Then another training may come, and the first one leaves the folder to it."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0)
    with contextlib.ExitStack() as later:
        with RunLock(tmp_path) as first:
            (tmp_path / LOCK_FILE).unlink()
            first.check()
            later.enter_context(RunLock(tmp_path))
            with pytest.raises(CheckpointError, match="taken over by process"):
                first.check()
        assert_taken(tmp_path, "is being trained by")  # still
    assert_free(tmp_path)


def test_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with RunLock(tmp_path):
        os.utime(tmp_path / LOCK_FILE, (0, 0))
        deadline = time.monotonic() + 30
        while (tmp_path / LOCK_FILE).stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_owner_in_words():
    owner = Owner("h", 12, "2026-01-01 00:00:00 +0000", "b", None, None)
    assert str(owner) == "process 12 on h since 2026-01-01 00:00:00 +0000"
