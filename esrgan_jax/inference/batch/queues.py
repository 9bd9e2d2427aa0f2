"""Queues between threads that can be stopped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

_POLL_SECONDS = 0.1  # seconds between two checks whether to stop, while waiting


class Stopped(Exception):  # noqa: N818 (not an error)
    """Ends a thread that is no longer needed."""


class End:
    """The last item of a queue, with the error that ended it."""

    def __init__(self, error: BaseException | None = None):
        self.error = error


class StoppableQueue:
    """A bounded queue between two threads; both get `Stopped` once `stop` is set."""

    def __init__(self, stop: threading.Event, size: int):
        self._stop = stop
        self._queue: queue.Queue[Any] = queue.Queue(size)

    def put(self, item: Any) -> None:
        """Append an item, as soon as there is room."""
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                pass
        raise Stopped

    def __iter__(self) -> Iterator[Any]:
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item  # or this frame keeps it in memory while it waits for the next
        raise Stopped
