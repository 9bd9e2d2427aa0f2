"""Signals: the first saves and leaves, the second leaves; real processes, real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esrgan_jax.training.stopping import StopSignals

ROOT = Path(__file__).parents[2]
PROGRAM = """
import hashlib, sys, time
from esrgan_jax.training.stopping import StopSignals
say = lambda line: print(line, flush=True)
with StopSignals(say) as signals:
    {before}
    say("ready")
    # As while XLA compiles: one long call, in which other threads run, but no handlers of signals.
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9) if {busy} else time.sleep(60)
"""


@pytest.fixture
def start():
    """A process that listens, and has said so."""
    started = []

    def run(before="pass", busy=False, ignored=False):
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(before=before, busy=busy)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGINT, handler)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("busy", [False, True])
def test_nothing_to_save(start, number, busy):
    process = start(busy=busy)
    began = time.perf_counter()
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    assert time.perf_counter() - began < 2
    first, last = process.stdout.read().splitlines()
    assert first == f"stop      {number.name}"
    assert "everything is saved; run the same command to resume" in last


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_leaves_at_once(start, number):
    process = start(before="signals.begin_unsaved()")
    process.send_signal(number)
    assert process.stdout.readline().startswith(f"stop      {number.name}: saving after this iteration")
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    assert "leaving at once, without saving" in process.stdout.read()


def test_ctrl_c_in_the_background_of_a_shell(start):
    process = start(ignored=True)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)


def test_signal_before_the_work_is_saved(start):
    """It waits until then; what comes after ends the process."""
    before = "signals.begin_unsaved(); say('working'); time.sleep(1); print(signals.received); signals.end_unsaved()"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(before=before, busy=False)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    assert out.splitlines()[1] == "True"
    assert "to resume" in out.splitlines()[2]


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopSignals(print) as signals:
        assert signal.getsignal(signal.SIGTERM) not in before
        assert not signals.received
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1
