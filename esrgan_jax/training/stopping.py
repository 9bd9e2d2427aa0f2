"""Signals while a run works: the first asks it to save and leave, the second ends it at once."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from esrgan_jax.system.exit import exit_now

RESUME_HINT = "run the same command to resume"


STOPPING = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU") if hasattr(signal, name)
]  # Windows has neither of the last two


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """A run that a signal ended, after everything was saved.

    Attributes:
      exit_code: what the process should end with: 128 + the signal, as 143 after SIGTERM.
    """

    def __init__(self, exit_code: int):
        super().__init__(f"everything is saved; {RESUME_HINT}")
        self.exit_code = exit_code


class StopSignals:
    """Listens for these signals, as a context manager.

    A thread of its own listens, because Python's handlers wait for the main thread, which may be inside of
    XLA for minutes.

    Args:
      say: tells people what happens.

    Attributes:
      received: whether a signal came and the run has not left yet.
      exit_code: of a stopped run, as shells have it: 128 + the signal; SIGTERM's where another process got it.
    """

    def __init__(self, say: Callable[[str], None]):
        self.received = False
        self.exit_code = 128 + signal.SIGTERM
        self._say = say
        self._unsaved = False
        self._lock = threading.Lock()
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python has signals in the main thread only
        self._read_end, self._write_end = socket.socketpair()
        self._write_end.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._write_end.fileno(), warn_on_full_buffer=False)
        for number in STOPPING:
            # Ctrl-C is ignored in the background of a shell, SIGHUP below nohup, and they stay so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous_handlers[number] = signal.signal(number, lambda *_: None)
        self._listener = threading.Thread(target=self._listen, name="stop signals", daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._write_end.close()
        self._listener.join()
        self._read_end.close()

    def begin_unsaved(self) -> None:
        """From now on there is something to save: a signal waits for `end_unsaved`."""
        self._unsaved = True

    def end_unsaved(self) -> None:
        """From now on there is nothing to save: a signal ends the process at once, also one that came before."""
        with self._lock:
            self._unsaved = False
            if self.received:
                self._exit_saved()

    def _listen(self) -> None:
        while number := self._read_end.recv(1):
            if number[0] in self._previous_handlers:
                self._on_signal(signal.Signals(number[0]))

    def _on_signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self.received and number.name in ("SIGHUP", "SIGXCPU"):
                return  # from a terminal that closes and from its shell, or every second: nobody is impatient
            if self.received:
                self._say_safely(f"stop      {number.name} again: leaving at once, without saving")
                exit_now(128 + number)
            self.exit_code = 128 + number
            if not self._unsaved:
                self._say_safely(f"stop      {number.name}")
                self._exit_saved()
            self.received = True
            self._say_safely(
                f"stop      {number.name}: saving after this iteration; once more leaves at once"
            )

    def _exit_saved(self) -> None:
        self._say_safely(f"stop      everything is saved; {RESUME_HINT}")
        exit_now(self.exit_code)

    def _say_safely(self, line: str) -> None:
        with contextlib.suppress(Exception):  # a closed terminal must not keep anyone from leaving
            self._say(line)
