"""Progress on terminals and in logs: lines above one bar, a log file, rates and time left; never silent for long."""

import contextlib
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

Bar: TypeAlias = tqdm

TICK = 1.0
"""Seconds after which something moves on a terminal."""
LINE_EVERY = 30.0
"""Seconds without a line after which another one says what goes on, where there is no terminal."""


def bar(items: Iterable[Any] | None = None, *, total: int | None, name: str = "", **options: Any) -> Bar:
    """Return a progress bar on stderr, whose clock moves by itself; where that is no terminal, a line every 30 s.

    Args:
      items: passed on and counted; None: counted by `update`.
      total: number of items; None: not known.
      name: shown in front of the bar.
      options: see tqdm.
    """
    watched = sys.stderr.isatty()
    if not watched:
        rarely = {"delay": LINE_EVERY, "mininterval": LINE_EVERY, "miniters": 1, "leave": False}
        options = {"file": _Lines(), **rarely, "ncols": 80, **options}
    shown = tqdm(items, total=total, desc=name, dynamic_ncols=watched, **options)
    if watched:
        threading.Thread(target=_redraw, args=(weakref.ref(shown),), name="bar", daemon=True).start()
    return shown


class _Lines:
    """Stderr, on which each state of a bar is a line of its own."""

    def write(self, text: str) -> None:
        """Write a state, unless it is empty: those clear a bar."""
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        """Flush stderr."""
        sys.stderr.flush()


def clock(text: str) -> Bar:
    """Return a context for work whose length nobody knows: seconds on a terminal, cleared at its end."""
    return bar(total=None, name=text, bar_format="{desc} ... {elapsed}", leave=False)


def loading() -> Bar:
    """Return a clock for slow imports and the start of devices."""
    return clock("load      JAX")


def _redraw(shown: Callable[[], Bar | None]) -> None:
    """Redraw a bar again and again until it is closed or gone."""
    while True:
        time.sleep(TICK)
        now = shown()
        if now is None:
            return
        with tqdm.get_lock():  # held, or the bar might be closed in between and drawn once too often
            if now.disable:  # closed
                return
            now.refresh(nolock=True)
        del now


class Console:
    """Lines on stdout, above the bar if there is one, and in a log file.

    A log that cannot be written, because the disk is full, stops nothing: `problem` says why.

    Args:
      log: the log file; None: nothing is printed, because another process does it.
    """

    def __init__(self, log: Path | None):
        self.problem: str | None = None
        self._file = None if log is None else log.open("a", encoding="utf-8")
        self._works: list[_Work] = []  # what goes on, the innermost last
        self._spoke = time.perf_counter()
        self._passing = 0  # length of a line that the next one takes the place of
        self._closed = threading.Event()
        self._ticker: threading.Thread | None = None

    def say(self, line: str) -> None:
        """Print and log one line."""
        if self._file is None:
            return
        self._write(line)
        try:
            self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            self._file.flush()
            self.problem = None
        except OSError as error:
            self.problem = f"train.log cannot be written ({error.strerror})"

    def announce(self, name: str, what: str) -> None:
        """Print what begins now and may take a while; on a terminal the line at its end replaces this one."""
        if self._file is not None:
            self._pass_by(f"{name:<9} {what}")

    @contextlib.contextmanager
    def ticking(self, name: str, what: Callable[[], str]) -> Iterator[None]:
        """Say around a piece of work how long it takes by now: every second on a terminal, else when 30 s are silent.

        Args:
          name: of the work.
          what: asked each time; the answer may change as the work goes on.
        """
        if self._file is not None and self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="console", daemon=True)
            self._ticker.start()
        work = _Work(name, what, time.perf_counter())
        self._works.append(work)
        try:
            yield
        finally:
            self._works.remove(work)

    @contextlib.contextmanager
    def phase(self, name: str, what: str) -> Iterator[None]:
        """Announce a piece of work, and say at its end how long it took."""
        self.announce(name, what)
        start = time.perf_counter()
        with self.ticking(name, lambda: what):
            yield
        self.say(f"{name:<9} {what}: {time.perf_counter() - start:.1f} s")

    def _tick(self) -> None:
        while not self._closed.wait(TICK):
            # Held, so that nobody says that the work is done before this says that it goes on.
            with tqdm.get_lock(), contextlib.suppress(OSError, ValueError):  # a closed terminal
                now = time.perf_counter()
                if self._works and (sys.stdout.isatty() or now - self._spoke >= LINE_EVERY):
                    work = self._works[-1]
                    self._pass_by(f"{work.name:<9} {work.what()}", f" ... {now - work.start:.0f} s")

    def _pass_by(self, line: str, end: str = " ...") -> None:
        """Write a line whose place the next one takes, on a terminal; it is cut, because it must not wrap."""
        if sys.stdout.isatty():
            line = line[: shutil.get_terminal_size().columns - 1 - len(end)]
        self._write(line + end, passing=sys.stdout.isatty())

    def _write(self, line: str, passing: bool = False) -> None:
        with tqdm.get_lock():
            tqdm.write(line.ljust(self._passing), file=sys.stdout, end="\r" if passing else "\n")
            sys.stdout.flush()
            self._passing = len(line) if passing else 0
            self._spoke = time.perf_counter()

    def close(self) -> None:
        """End the ticking, and close the log file."""
        self._closed.set()
        if self._ticker is not None:
            self._ticker.join()
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk has not taken
                self._file.close()


@dataclass(frozen=True)
class _Work:
    """Work that goes on: its name, what to say of it, and when it began."""

    name: str
    what: Callable[[], str]
    start: float


@dataclass(frozen=True)
class _Reading:
    """The time of a meter at one moment, and its counts."""

    time: float
    done: int
    paused: float
    waited: float


class Meter:
    """A counter of the iterations of a stage: a bar on a terminal, rates and time left for the log.

    Bar and rates begin with the second iteration, because the first one compiles.

    Args:
      name: of the stage.
      total: its iterations.
      done: those of them that are done.
      later: iterations like these that the stages behind this one amount to at least; 0: there are none.
    """

    def __init__(self, name: str, total: int, done: int, later: float = 0):
        self._name, self._total, self._done, self._later = name, total, done, later
        self._paused = self._waited = 0.0
        self._bar: Bar | None = None
        self._start: _Reading | None = None
        self._last: _Reading | None = None

    @property
    def place(self) -> str:
        """How far the stage is: "30/1000"."""
        return f"{self._done}/{self._total}"

    def advance(self, waited: float = 0.0) -> None:
        """Count one finished iteration, for which the devices `waited` that many seconds for data."""
        self._done += 1
        if self._bar is None:
            self._start = self._last = self._mark()
            self._bar = bar(
                total=self._total,
                initial=self._done,
                name=self._name,
                disable=not sys.stderr.isatty(),  # where the log's lines say the same
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            )
        else:
            self._waited += waited
            self._bar.update()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the work inside this context out of the speed of iterations."""
        start = time.perf_counter()
        yield
        self._paused += time.perf_counter() - start

    def report(self, losses: dict[str, float], batch_size: int) -> tuple[str, float]:
        """Return a line about the time since the last report, and the share of it spent waiting for data, 0 to 1.

        The line has iteration, losses, images per second and time left, for the stage and the run.
        """
        line = f"{self._name:<9} {self.place}: " + ", ".join(
            f"{name} {value:.4g}" for name, value in losses.items()
        )
        start, last, now = self._start, self._last, self._mark()
        if start is None or last is None or last.done == now.done:
            return line, 0.0
        self._last = now
        seconds = max(now.time - last.time - (now.paused - last.paused), 1e-9)
        speed = f"{batch_size * (now.done - last.done) / seconds:.1f} images/s"
        if self._bar is not None:  # one sum for all losses of the generator, for lack of space
            loss = sum(value for name, value in losses.items() if name.startswith("l_g_"))
            self._bar.set_postfix_str(f"loss {loss:.4g}, {speed}", refresh=False)
        per_iteration = (now.time - start.time) / (now.done - start.done)
        left = per_iteration * (self._total - now.done)
        text = f"{duration(left)} left"
        if self._later:
            text += f", for the run at least {duration(left + per_iteration * self._later)}"
        return f"{line}; {speed}, {text}", (now.waited - last.waited) / seconds

    def _mark(self) -> _Reading:
        return _Reading(time.perf_counter(), self._done, self._paused, self._waited)

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Return a time in words: 42 s, 3 min 05 s, 2 h 07 min, 4 d 03 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600:02d} h"
