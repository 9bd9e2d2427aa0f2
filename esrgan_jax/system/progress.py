"""Progress on terminals and in logs: lines above one bar, a log file, rates and time left."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

Bar: TypeAlias = tqdm


def bar(items: Iterable[Any] | None = None, *, total: int | None, name: str = "", **options: Any) -> Bar:
    """Return a progress bar on stderr, hidden if that is no terminal.

    Args:
      items: passed on and counted; None: counted by `update`.
      total: number of items; None: not known.
      name: shown in front of the bar.
      options: see tqdm.
    """
    hidden = not sys.stderr.isatty()
    return tqdm(items, total=total, desc=name, disable=hidden, dynamic_ncols=True, **options)


class Console:
    """Lines on stdout, above the bar if there is one, and in a log file.

    A log that cannot be written, because the disk is full, stops nothing: `problem` says why.

    Args:
      log: the log file; None: nothing is printed, because another process does it.
    """

    def __init__(self, log: Path | None):
        self.problem: str | None = None
        self._file = None if log is None else log.open("a", encoding="utf-8")

    def say(self, line: str) -> None:
        """Print and log one line."""
        if self._file is None:
            return
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
        try:
            self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            self._file.flush()
            self.problem = None
        except OSError as error:
            self.problem = f"train.log cannot be written ({error.strerror})"

    def announce(self, name: str, what: str) -> None:
        """Print what begins now and may take a while; on a terminal the line at its end replaces this one."""
        if self._file is None:
            return
        end = "\r" if sys.stdout.isatty() else "\n"
        tqdm.write(f"{name:<9} {what} ...", file=sys.stdout, end=end)
        sys.stdout.flush()

    @contextlib.contextmanager
    def phase(self, name: str, what: str) -> Iterator[None]:
        """Announce a piece of work, and say at its end how long it took."""
        self.announce(name, what)
        start = time.perf_counter()
        yield
        self.say(f"{name:<9} {what}: {time.perf_counter() - start:.1f} s")

    def close(self) -> None:
        """Close the log file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk has not taken
                self._file.close()


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
    """

    def __init__(self, name: str, total: int, done: int):
        self._name, self._total, self._done = name, total, done
        self._paused = self._waited = 0.0
        self._bar: Bar | None = None
        self._start: _Reading | None = None
        self._last: _Reading | None = None

    def advance(self, waited: float = 0.0) -> None:
        """Count one finished iteration, for which the devices `waited` that many seconds for data."""
        self._done += 1
        if self._bar is None:
            self._start = self._last = self._mark()
            self._bar = bar(
                total=self._total,
                initial=self._done,
                name=self._name,
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

        The line has iteration, losses, images per second and time left.
        """
        line = f"{self._name:<9} {self._done}/{self._total}: " + ", ".join(
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
        left = (now.time - start.time) / (now.done - start.done) * (self._total - now.done)
        return f"{line}; {speed}, {duration(left)} left", (now.waited - last.waited) / seconds

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
