"""What a run says: lines where nobody watches, a bar on a terminal, the same lines in the log."""

import contextlib
import io
import os
import re
import threading
import time
from pathlib import Path

import pytest

from esrgan_jax.errors import ConfigError
from esrgan_jax.system import progress
from esrgan_jax.system.console import Console
from esrgan_jax.system.memory import peak_memory
from esrgan_jax.system.progress import bar, duration
from esrgan_jax.system.progress import clock as clock_of
from esrgan_jax.training.meter import Meter


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@contextlib.contextmanager
def watched():
    """Stdout and stderr as one terminal."""
    stream = Terminal()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield stream


def test_a_bar_is_shown_on_terminals_alone(capsys):
    assert list(bar("ab", total=2, name="read")) == ["a", "b"]
    assert capsys.readouterr() == ("", "")
    with watched() as stream:
        assert list(bar("ab", total=2, name="read")) == ["a", "b"]
    assert "read: 100%" in stream.getvalue()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals on this system")
def test_a_bar_is_shown_on_a_terminal_that_does_not_tell_its_size():
    ours, theirs = os.openpty()  # of 0 columns
    os.set_blocking(ours, False)
    shown = b""
    with os.fdopen(theirs, "w") as terminal, contextlib.redirect_stderr(terminal):
        assert list(bar("ab", total=2, name="read")) == ["a", "b"]
        with contextlib.suppress(BlockingIOError):
            while True:
                shown += os.read(ours, 10_000)
    os.close(ours)
    assert b"read: 100%" in shown


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "perf_counter", lambda: Clock.now)
    return Clock


def test_lines_go_to_stdout_and_with_their_time_to_the_log(tmp_path, capsys):
    for line in ("first", "second"):
        console = Console(tmp_path / "train.log")
        console.say(line)
        console.close()
    assert capsys.readouterr() == ("first\nsecond\n", "")
    log = (tmp_path / "train.log").read_text().splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in log] == ["first", "second"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_does_not_stop_anyone(capsys):
    console = Console(Path("/dev/full"))
    console.say("first")
    assert console.problem == "train.log cannot be written (No space left on device)"
    console.close()
    assert capsys.readouterr() == ("first\n", "")


def full_stream():
    return Path("/dev/full").open("w")


def pipe_without_a_reader():
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w")


def closed_stream():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "stream, reason",
    [
        (full_stream, "No space left on device"),
        (pipe_without_a_reader, "Broken pipe"),
        (closed_stream, "I/O operation on closed file"),
        (lambda: None, None),  # what Python has where stdout was closed before it began
    ],
)
def test_nobody_reads_stdout(tmp_path, monkeypatch, stream, reason):
    """The log has all lines, and says once what is wrong; nothing is raised by lines, clocks and bars."""
    output = stream()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(progress.sys, name, output)
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    monkeypatch.setattr(progress, "TICK", 0.01)
    console = Console(tmp_path / "train.log")
    console.say("first")
    with console.phase("data", "photos"), progress.clock("load") as shown:
        time.sleep(0.05)
        shown.update()
    assert list(bar("ab", total=2, name="read")) == ["a", "b"]
    meter = Meter("psnr", 9, 0)
    meter.advance()
    meter.advance()
    meter.close()
    console.say("last")
    console.close()
    assert console.problem is None
    lines = [line[20:] for line in (tmp_path / "train.log").read_text().splitlines()]
    told = (
        []
        if reason is None
        else [f"note      stdout cannot be written ({reason}): this log goes on without it"]
    )
    assert lines[:-2] == [*told, "first"]
    assert lines[-1] == "last"
    with contextlib.suppress(OSError, AttributeError):
        output.close()


def test_log_that_cannot_be_opened(tmp_path):
    with pytest.raises(
        ConfigError, match=f"{tmp_path} cannot be written .Is a directory.: mend that, or choose"
    ):
        Console(tmp_path)


def test_stdout_that_works_again(tmp_path, capsys, monkeypatch):
    class Sometimes(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Sometimes()
    monkeypatch.setattr(progress.sys, "stdout", stream)
    console = Console(tmp_path / "train.log")
    console.say("first")
    stream.full = False
    console.say("second")
    console.close()
    assert stream.getvalue() == "second\n"


def test_names_that_are_no_utf8(tmp_path):
    console = Console(tmp_path / "train.log")
    with contextlib.redirect_stdout(io.StringIO()):
        console.say(b"caf\xe9.png".decode(errors="surrogateescape"))
    console.close()
    assert (tmp_path / "train.log").read_text().endswith("caf\\udce9.png\n")


def test_console_of_another_process_says_nothing(capsys):
    console = Console(None)
    with console.phase("data", "photos"):
        console.say("first")
    console.close()
    assert capsys.readouterr() == ("", "")


def test_phase_is_announced_and_timed(tmp_path, capsys, clock):
    console = Console(tmp_path / "train.log")
    with console.phase("data", "photos"):
        assert capsys.readouterr().out == "data      photos ...\n"
        clock.now += 2.34
    assert capsys.readouterr().out == "data      photos: 2.3 s\n"
    console.close()
    assert (tmp_path / "train.log").read_text().count("\n") == 1


def test_phase_that_fails_is_not_said_to_be_done(tmp_path, capsys):
    console = Console(tmp_path / "train.log")
    with pytest.raises(ValueError, match="bad"), console.phase("data", "photos"):
        raise ValueError("bad")
    console.close()
    assert capsys.readouterr().out == "data      photos ...\n"


def test_on_a_terminal_the_end_of_a_phase_replaces_its_beginning(tmp_path):
    with watched() as terminal:
        console = Console(tmp_path / "train.log")
        with console.phase("data", "photos"):
            pass
        console.close()
    begin, end = terminal.getvalue().split("\r")
    assert (begin, end) == ("data      photos ...", "data      photos: 0.0 s\n")
    assert len(end) > len(begin)  # nothing of it stays behind


@pytest.fixture
def fast_ticks(monkeypatch):
    monkeypatch.setattr(progress, "TICK", 0.02)
    monkeypatch.setattr(progress, "LINE_EVERY", 0.1)


def wait_for(condition):
    """Wait until a thread has done something, on a machine however busy."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_work_that_takes_long_is_never_silent(tmp_path, fast_ticks, monkeypatch):
    """Where nobody watches: a line after a while without any; none of it in the log."""
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        console = Console(tmp_path / "train.log")
        with console.phase("compile", "psnr stage"), console.ticking("psnr", lambda: "3/9"):
            wait_for(lambda: "3/9" in stream.getvalue())
            monkeypatch.setattr(progress, "LINE_EVERY", 60)
            console.say("other")
            time.sleep(0.1)
        console.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "compile   psnr stage ..."
    assert re.fullmatch(r"psnr      3/9 \.\.\. \d+ s", lines[-3])
    assert lines[-2] == "other"
    assert lines[-1].startswith("compile   psnr stage: ")
    assert "..." not in (tmp_path / "train.log").read_text()
    assert "console" not in {thread.name for thread in threading.enumerate()}


def test_seconds_run_on_a_terminal(tmp_path, fast_ticks, monkeypatch):
    """Each line takes the place of the one before, and leaves nothing of it; also if the work fails."""
    monkeypatch.setenv("COLUMNS", "30")
    with watched() as terminal:
        console = Console(tmp_path / "train.log")
        with pytest.raises(ValueError, match="bad"), console.ticking("data", lambda: "a long name " * 4):
            wait_for(lambda: terminal.getvalue().count("\r") > 1)
            raise ValueError("bad")
        length = len(terminal.getvalue())
        time.sleep(0.1)
        assert len(terminal.getvalue()) == length
        console.say("short")
        console.close()
    *passing, end = terminal.getvalue().split("\r")
    assert len(passing) > 1
    assert all(len(text) == 29 and re.search(r" \.\.\. \d+ s$", text) for text in passing)
    assert end == "short".ljust(29) + "\n"


def test_where_nobody_watches_a_bar_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.02)
    with bar(total=3, name="read") as shown:
        time.sleep(0.03)
        shown.update(2)
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert re.match(r"read:  67%\|.*\| 2/3 \[", line)


def test_a_clock_is_cleared_at_its_end(fast_ticks):
    with watched() as terminal, clock_of("load      JAX"):
        wait_for(lambda: terminal.getvalue().count("load      JAX ... 00:0") > 1)
    shown = terminal.getvalue().split("\r")
    assert shown[-2].strip() == ""


def test_the_clock_of_a_bar_moves_by_itself(fast_ticks):
    with watched() as terminal:
        with bar(total=2, name="read"):
            wait_for(lambda: terminal.getvalue().count("read:") > 2)
        length = len(terminal.getvalue())
        wait_for(lambda: "bar" not in {thread.name for thread in threading.enumerate()})
        assert len(terminal.getvalue()) == length


def test_rates_leave_out_the_iteration_that_compiles(clock, capsys):
    meter = Meter("psnr", 1000, 0)
    clock.now += 300  # compiles
    meter.advance()
    assert meter.report({"l_g_pix": 0.5}, 8) == ("psnr      1/1000: l_g_pix 0.5", 0)
    for _ in range(99):
        clock.now += 0.5
        meter.advance()
    line, _ = meter.report({"l_g_pix": 0.12345, "l_g_gan": 1e-5}, 8)
    assert line == "psnr      100/1000: l_g_pix 0.1235, l_g_gan 1e-05; 16.0 images/s, 7 min 30 s left"
    meter.close()
    assert capsys.readouterr() == ("", "")


def test_time_left_for_later_stages(clock):
    meter = Meter("psnr", 11, 0, later=100)
    meter.advance()
    for _ in range(5):
        clock.now += 2
        meter.advance()
    assert meter.report({"a": 1.0}, 8)[0].endswith(
        "; 4.0 images/s, 10 s left, for the run at least 3 min 30 s"
    )
    meter.close()


def test_resumed_stage_counts_from_where_it_was(clock):
    meter = Meter("gan", 100, 90)
    meter.advance()
    for _ in range(4):
        clock.now += 2
        meter.advance()
    assert meter.report({"a": 1.0}, 4)[0] == "gan       95/100: a 1; 2.0 images/s, 10 s left"
    meter.close()


def test_rate_of_the_time_since_the_last_report(clock):
    """Evaluations and saving are no part of it, but of the time that is left."""
    meter = Meter("psnr", 31, 0)
    meter.advance()
    for seconds, waited, line, idle in (
        (1, 0.25, "psnr      11/31: a 1; 8.0 images/s, 20 s left", 0.25),
        (2, 0.5, "psnr      21/31: a 1; 4.0 images/s, 20 s left", 0.25),
        (4, 0.0, "psnr      31/31: a 1; 2.0 images/s, 0 s left", 0.0),
    ):
        for _ in range(10):
            clock.now += seconds
            meter.advance(waited)
        assert meter.report({"a": 1.0}, 8) == (line, pytest.approx(idle))
        with meter.paused():
            clock.now += 10
    meter.close()


def test_bar_on_a_terminal(tmp_path, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "40")
    losses = {"l_d_fake": 0.3496, "l_d_real": 0.3502, "l_g_gan": 0.003, "l_g_pix": 0.002, "out_d_fake": -0.2}
    with watched() as terminal:
        console, meter = Console(tmp_path / "train.log"), Meter("gan", 40, 10)
        console.announce("compile", "gan stage")
        assert terminal.getvalue() == "compile   gan stage ...\r"  # no bar yet that would hide it
        for _ in range(10):
            meter.advance()
            clock.now += 60
        console.say(meter.report(losses, 16)[0])
        meter.close()
        console.close()
    bar = terminal.getvalue().splitlines()[-1].split("\r")[-1]
    assert bar.startswith("gan:  50%|")
    assert "| 20/40 [" in bar
    assert "<" in bar  # time left
    assert "loss 0.005, " in bar
    assert bar.endswith(" images/s]")
    assert len(bar) <= 100
    assert (tmp_path / "train.log").read_text().count("20/40: l_d_fake 0.3496") == 1


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.9, "1 h 00 min"),
        (7625, "2 h 07 min"),
        (86400, "1 d 00 h"),
        (4 * 86400 + 3 * 3600, "4 d 03 h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_peak_memory():
    match = re.match(r"(\d+\.\d\d) GB", peak_memory())
    assert match
    assert 0.05 < float(match[1]) < 1000
