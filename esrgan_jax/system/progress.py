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
    """Return a progress bar on stderr; nothing is shown where that is no terminal.

    Args:
      items: what the bar hands on while it counts; None: its `update` counts.
      total: how many there will be; None: not known.
      name: of the work, in front of the bar.
      options: see tqdm.
    """
    hidden = not sys.stderr.isatty()
    return tqdm(items, total=total, desc=name, disable=hidden, dynamic_ncols=True, **options)


class Console:
    """Prints lines to the terminal, above the bar if there is one, and appends them to a log file.

    A log that cannot be written, because the disk is full, is no reason to stop: `problem` says why.

    Args:
      log: the log file; None: says nothing at all, because another process does.
    """

    def __init__(self, log: Path | None):
        self.problem: str | None = None
        self._file = None if log is None else log.open("a", encoding="utf-8")

    def say(self, line: str) -> None:
        """Prints and logs one line."""
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
        """Says what begins now and may take a while; on a terminal the line that ends it takes its place."""
        if self._file is None:
            return
        end = "\r" if sys.stdout.isatty() else "\n"
        tqdm.write(f"{name:<9} {what} ...", file=sys.stdout, end=end)
        sys.stdout.flush()

    @contextlib.contextmanager
    def phase(self, name: str, what: str) -> Iterator[None]:
        """Announces a piece of work, and says how long it took."""
        self.announce(name, what)
        start = time.perf_counter()
        yield
        self.say(f"{name:<9} {what}: {time.perf_counter() - start:.1f} s")

    def close(self) -> None:
        """Closes the log file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk did not take
                self._file.close()


@dataclass(frozen=True)
class _Reading:
    """What a meter read at one moment: the clock, and what it had counted by then."""

    time: float
    done: int
    paused: float
    waited: float


class Meter:
    """Counts the iterations of one stage: a moving bar on a terminal, rates and time left for the log.

    The bar and the rates begin with the second iteration, because the first one compiles.
    """

    def __init__(self, name: str, total: int, done: int):
        self._name, self._total, self._done = name, total, done
        self._paused = self._waited = 0.0
        self._bar: Bar | None = None
        self._start: _Reading | None = None
        self._last: _Reading | None = None

    def advance(self, waited: float = 0.0) -> None:
        """Counts one finished iteration, for which the devices waited so many seconds for data."""
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
        """Around work between the iterations, which is no part of their speed."""
        start = time.perf_counter()
        yield
        self._paused += time.perf_counter() - start

    def report(self, losses: dict[str, float], batch_size: int) -> tuple[str, float]:
        """What happened since the last report.

        Returns:
          One line: iteration, losses, images per second, time left; and the share of the time for which the
          devices waited for data, 0 to 1.
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
        if self._bar is not None:  # one number for all losses of the generator: there is no room for more
            loss = sum(value for name, value in losses.items() if name.startswith("l_g_"))
            self._bar.set_postfix_str(f"loss {loss:.4g}, {speed}", refresh=False)
        left = (now.time - start.time) / (now.done - start.done) * (self._total - now.done)
        return f"{line}; {speed}, {duration(left)} left", (now.waited - last.waited) / seconds

    def _mark(self) -> _Reading:
        return _Reading(time.perf_counter(), self._done, self._paused, self._waited)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """A time as people read it: 42 s, 3 min 05 s, 2 h 07 min, 4 d 03 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600:02d} h"
