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


NUMBERS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU]


@pytest.fixture
def start():
    """A process that listens, and has said so."""
    started = []

    def run(before="pass", busy=False, ignored=()):
        ours = {
            number: signal.signal(number, signal.SIG_IGN if number in ignored else handler)
            for number, handler in (
                (signal.SIGINT, signal.default_int_handler),
                (signal.SIGHUP, signal.SIG_DFL),
            )
        }
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(before=before, busy=busy)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, handler in ours.items():
            signal.signal(number, handler)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", NUMBERS)
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


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGXCPU])
def test_nobody_is_impatient(start, number):
    """System and shell both send SIGHUP, and perhaps SIGCONT; a limit of CPU time sends SIGXCPU every second."""
    process = start(before="signals.begin_unsaved()")
    process.send_signal(number)
    assert process.stdout.readline().startswith(f"stop      {number.name}: saving after this iteration")
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)  # somebody is impatient
    assert process.wait(10) == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ignored_in_the_background_of_a_shell_and_below_nohup(start, number):
    process = start(ignored=(number,))
    process.send_signal(number)
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
    before = [signal.getsignal(number) for number in NUMBERS]
    with StopSignals(print) as signals:
        assert signal.getsignal(signal.SIGTERM) not in before
        assert not signals.received
    assert [signal.getsignal(number) for number in NUMBERS] == before
    assert signal.set_wakeup_fd(-1) == -1
