"""The console of a run: lines on stdout, what goes on at present, and a log file."""

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from esrgan_jax.errors import ConfigError
from esrgan_jax.system import progress
from esrgan_jax.system.progress import is_terminal


class Console:
    """Lines on stdout, above the bar if there is one, and in a log file.

    What cannot be written stops nothing. Of the log `problem` says why. Of stdout (its reader has gone, the terminal
    is closed, the disk behind it is full) the log says it once, and goes on alone.

    Args:
      log: the log file; None: nothing is printed, because another process does it.

    Raises:
      ConfigError: the log cannot be opened.
    """

    def __init__(self, log: Path | None):
        self.problem: str | None = None
        try:
            self._file = None if log is None else log.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ConfigError(
                f"{log} cannot be written ({error.strerror}): mend that, or choose another --workdir."
            ) from None
        self._stdout_works = True
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
        self._log(line)

    def _log(self, line: str) -> None:
        if self._file is None:
            return
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
        while not self._closed.wait(progress.TICK):
            # Held, so that nobody says that the work is done before this says that it goes on.
            with tqdm.get_lock():
                now = time.perf_counter()
                if self._works and (is_terminal(sys.stdout) or now - self._spoke >= progress.LINE_EVERY):
                    work = self._works[-1]
                    self._pass_by(f"{work.name:<9} {work.what()}", f" ... {now - work.start:.0f} s")

    def _pass_by(self, line: str, end: str = " ...") -> None:
        """Write a line whose place the next one takes, on a terminal; it is cut, because it must not wrap."""
        watched = is_terminal(sys.stdout)
        if watched:
            line = line[: shutil.get_terminal_size().columns - 1 - len(end)]
        self._write(line + end, passing=watched)

    def _write(self, line: str, passing: bool = False) -> None:
        if sys.stdout is None:
            return
        with tqdm.get_lock():
            try:
                tqdm.write(line.ljust(self._passing), file=sys.stdout, end="\r" if passing else "\n")
                sys.stdout.flush()
            except (OSError, ValueError) as error:  # ValueError: it was closed
                if self._stdout_works:
                    self._stdout_works = False
                    reason = getattr(error, "strerror", None) or error
                    self._log(f"note      stdout cannot be written ({reason}): this log goes on without it")
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
