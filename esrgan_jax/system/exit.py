"""Ending this process at once, and explaining an abort that happens outside Python."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

# Prints its last line of input when the input ends, that is, when the process at the other end is gone.
_LISTENER = "import sys\nline = ''\nfor line in sys.stdin: pass\nsys.stderr.write(line.lstrip())"

cleanups: list[Callable[[], None]] = []
"""What `exit_now` calls before it ends the process."""

_watcher: subprocess.Popen[str] | None = None


def explain_abort(line: str) -> None:
    """Start a small process that prints `line` on stderr if this one ends by anything but `exit_now`."""
    global _watcher
    # In another session, because Ctrl-C is for the process that trains.
    _watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LISTENER],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert _watcher.stdin is not None
    _watcher.stdin.write(line + "\n")
    _watcher.stdin.flush()


def exit_now(code: int, explain: bool = False) -> NoReturn:
    """End this process at once; `explain` prints the line of `explain_abort`.

    A normal exit would crash: JAX still works in threads while Python shuts down.
    """
    for cleanup in reversed(cleanups):
        with contextlib.suppress(Exception):
            cleanup()
    with contextlib.suppress(Exception):  # the small process may be gone
        if _watcher is not None and _watcher.stdin is not None:
            if not explain:
                _watcher.stdin.write("\n")
            _watcher.stdin.close()
            _watcher.wait(1)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)
