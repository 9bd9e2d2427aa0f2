"""How many tiles are done: counted per network, added up over several, shown as a bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Progress = Callable[[int, int], None]
"""Called after each tile with (tiles done, tiles in all).

The latter grows when the device has run out of memory and smaller tiles follow.
"""


class TileCounter:
    """Counts the tiles of one pass of a picture through a network."""

    def __init__(self, progress: Progress | None):
        self._progress, self._done = progress, 0

    def watch(self, results: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
        """Pass on `count` results, and report each."""
        total = self._done + count
        for result in results:
            self._done += 1
            if self._progress:
                self._progress(self._done, total)
            yield result


class TileTotals:
    """Adds up the tiles of several passes.

    Args:
      progress: called with the sums.
      counts: tiles of each pass, as far as known; what the pass itself reports replaces it.
    """

    def __init__(self, progress: Progress | None, counts: Sequence[int]):
        self._progress = progress
        self._passes = [(0, count) for count in counts]

    def of(self, index: int) -> Progress:
        """Return the `progress` of one pass."""

        def count(done: int, total: int) -> None:
            self._passes[index] = done, total
            if self._progress:
                done, total = (sum(numbers) for numbers in zip(*self._passes, strict=True))
                self._progress(done, total)

        return count


@contextlib.contextmanager
def shown(progress: bool | Progress | None) -> Iterator[Progress | None]:
    """Yield `progress` as a function; for True, one that moves a bar on stderr."""
    if callable(progress) or not progress:
        yield progress or None
        return
    from tqdm import tqdm

    with tqdm(unit="tile") as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move
