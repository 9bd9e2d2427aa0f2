"""How a process ends that others wait for: at once, and with last words where Python cannot speak any more."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import NoReturn

# Says its last line of input when the input ends, that is, when the process that holds the other end is gone.
_LISTENER = "import sys\nline = ''\nfor line in sys.stdin: pass\nsys.stderr.write(line.lstrip())"

_watcher: subprocess.Popen[str] | None = None


def explain_abort(line: str) -> None:
    """A small process of its own says `line` on stderr if this one ends by anything but `leave`."""
    global _watcher
    # A session of its own: Ctrl-C is for the process that trains.
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
    """Ends this process at once, without the last words unless they are asked for.

    JAX goes on in its threads, and crashes when Python is taken down around them.
    """
    with contextlib.suppress(Exception):  # whoever listened may be gone
        if _watcher is not None and _watcher.stdin is not None:
            if not explain:
                _watcher.stdin.write("\n")
            _watcher.stdin.close()
            _watcher.wait(1)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)
