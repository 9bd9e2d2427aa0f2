"""Progress bars and clocks on stderr, which are never silent for long, and times in words."""

import contextlib
import os
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, TextIO, TypeAlias

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
    watched = is_terminal(sys.stderr)
    if not watched:
        rarely = {"delay": LINE_EVERY, "mininterval": LINE_EVERY, "miniters": 1, "leave": False}
        options = {"file": _Lines(), **rarely, "ncols": 80, **options}
    elif not _columns(sys.stderr):  # a terminal that does not tell its size, as some of containers
        size = shutil.get_terminal_size()  # 80 x 24, unless the environment knows better
        options = {"ncols": size.columns, "nrows": size.lines, **options}
    shown = tqdm(items, total=total, desc=name, dynamic_ncols=watched and "ncols" not in options, **options)
    if watched:
        threading.Thread(target=_redraw, args=(weakref.ref(shown),), name="bar", daemon=True).start()
    return shown


class _Lines:
    """Stderr, on which each state of a bar is a line of its own."""

    def write(self, text: str) -> None:
        """Write a state, unless it is empty: those clear a bar."""
        if text.strip() and sys.stderr is not None:
            with contextlib.suppress(
                OSError, ValueError
            ):  # nobody reads it any more, or the disk behind it is full
                sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        """Nothing is left to do: stderr keeps no lines back."""


def _columns(terminal: TextIO) -> int:
    try:
        return os.get_terminal_size(terminal.fileno()).columns
    except (OSError, ValueError):
        return 0


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether somebody watches stdout or stderr, which may be closed."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


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
