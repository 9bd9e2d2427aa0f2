"""Progress of `esrgan-jax upscale`: one bar over the tiles of all pictures, and a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from esrgan_jax.inference.batch.conveyor import Done, Event, Failed, Tiles
from esrgan_jax.inference.batch.tasks import UpscaleTask
from esrgan_jax.system.progress import bar, duration
from esrgan_jax.system.surroundings import printable, say

_SECONDS_PER_LINE = 30  # seconds between lines about one long picture, where there is no bar


class UpscaleProgress:
    """Shows events on stderr: as a bar on a terminal, elsewhere as lines.

    Args:
      tiles: number of tiles of each picture, estimated before it is read.
      skipped: number of pictures whose result existed.
    """

    def __init__(self, tiles: Mapping[UpscaleTask, int], skipped: int):
        self._left = dict(tiles)  # of unfinished pictures
        self._pictures, self._skipped = len(tiles), skipped
        self._done_tiles = self._done = self._pixels = 0
        self._failed: list[Failed] = []
        self._start = self._spoke = time.perf_counter()
        self._first: tuple[float, int] | None = None  # time and tiles after the first tile, which compiles
        self._bar = bar(
            total=sum(tiles.values()),
            unit="tile",
            disable=not sys.stderr.isatty(),
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} tiles [{elapsed}{postfix}]",
        )

    def show(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Tiles):
            self._count(event)
        elif isinstance(event, Done):
            self._finish(event)
        else:
            self._failed.append(event)
            self._left.pop(event.job, None)
            self._say(f"failed: {event.error}")
            self._redraw()

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()

    def summary(self) -> str:
        """Return the numbers of pictures done, skipped and failed, and the time taken."""
        seconds = time.perf_counter() - self._start
        parts = [f"{self._done} done"]
        parts += [f"{self._skipped} skipped"] if self._skipped else []
        parts += [f"{len(self._failed)} failed"] if self._failed else []
        line = ", ".join(parts) + f" in {duration(seconds)}"
        if self._pixels:
            line += f", {self._pixels / 1e6 / seconds:.3g} megapixels/s of output"
        return "\n".join([line, *(printable(f"failed: {failure.job.source}") for failure in self._failed)])

    @property
    def exit_code(self) -> int:
        """0, or 1 if a picture failed."""
        return 1 if self._failed else 0

    def _count(self, event: Tiles) -> None:
        self._done_tiles += 1
        self._left[event.job] = event.total - event.done
        now = time.perf_counter()
        self._first = self._first or (now, self._done_tiles)
        if not self._bar.disable:
            self._bar.set_description_str(printable(f"{event.job.source.name}: "), refresh=False)
            self._redraw()
        elif now - self._spoke > _SECONDS_PER_LINE:
            self._say(f"{event.job.source}: {event.done} of {event.total} tiles{self._time_left()}")

    def _finish(self, event: Done) -> None:
        self._done += 1
        self._left.pop(event.job, None)
        self._pixels += event.after[0] * event.after[1]
        for note in event.notes:
            self._say(f"{event.job.source}: {note}")
        if self._bar.disable:
            (height, width), (high, wide) = event.before, event.after
            finished = self._done + len(self._failed)
            self._say(
                f"{event.job.destination}: {width}x{height} -> {wide}x{high}, {event.seconds:.1f} s "
                f"({finished} of {self._pictures}{self._time_left()})"
            )

    def _redraw(self) -> None:
        self._bar.total = self._done_tiles + sum(self._left.values())
        self._bar.set_postfix_str(self._time_left().removeprefix("; "), refresh=False)
        self._bar.update(self._done_tiles - self._bar.n)

    def _time_left(self) -> str:
        remaining = sum(self._left.values())
        if self._first is None or self._done_tiles == self._first[1] or not remaining:
            return ""
        start, done = self._first
        seconds = (time.perf_counter() - start) / (self._done_tiles - done) * remaining
        return f"; {duration(seconds)} left"

    def _say(self, line: str) -> None:
        say(line)
        self._spoke = time.perf_counter()
