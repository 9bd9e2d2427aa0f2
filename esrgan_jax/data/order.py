"""The image that patch number n of a run is cut from, computed for any n directly, without counting up to it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

BLOCK = 1024
"""Patches among which the sources of a mixture are shuffled; another number gives another order."""


class Order:
    """The endless sequence of the images of one or several sources, each of them shuffled anew in every epoch.

    Each of several sources gets its share: after n patches, n a multiple of `BLOCK`, the count of every source is
    within len(sizes) of n * weight / sum of weights; within a block the sources come in random order.

    grain's `shuffle().repeat()` and `mix()` are not used: the first takes 4 ms of CPU time per element of seven and
    0.4 ms per element of a hundred, because it tries numbers below 65,536 until one is in range; the second
    alternates strictly: one of two processes would get all of one source.

    Args:
      sizes: number of images of each source; images are numbered consecutively, source after source.
      weights: shares of the sources, above 0; ignored for one source.
      seed: 0 or larger.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int):
        self._sizes = list(sizes)
        self._offsets = [0, *itertools.accumulate(sizes)]
        self._seed = seed
        # The share of each source in what the sources before it leave: so every count is a fraction, rounded down, of
        # a count that only grows, and never decreases.
        exact = [Fraction(str(weight)) for weight in weights]
        self._shares = [weight / sum(exact[number:]) for number, weight in enumerate(exact)]
        # Reading ahead crosses epochs, several of them if there are fewer images than patches in a batch.
        self._epoch = functools.lru_cache(maxsize=16 * len(self._sizes))(self._order_of_epoch)
        self._block = functools.lru_cache(maxsize=16)(self._order_of_block)

    def images(self, index: int) -> Iterator[int]:
        """Yield the image of patch `index`, then those that replace it, one after the other, if it is bad.

        They are the other images of the same epoch of the same source, so that a bad image shifts no other patch.
        """
        source, turn = (0, index) if len(self._sizes) == 1 else self._source_and_count(index)
        epoch, place = divmod(turn, self._sizes[source])
        order = self._epoch(source, epoch)
        for image in itertools.chain(order[place:], order[:place]):
            yield self._offsets[source] + int(image)

    def _source_and_count(self, index: int) -> tuple[int, int]:
        """Return the source of patch `index`, and the number of patches of that source before it."""
        block, place = divmod(index, BLOCK)
        sources, counts = self._block(block)
        return int(sources[place]), int(counts[place])

    def _counts(self, patches: int) -> list[int]:
        counts = []
        for share in self._shares:
            counts.append(patches * share.numerator // share.denominator)
            patches -= counts[-1]
        return counts

    def _order_of_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        first, end = self._counts(block * BLOCK), self._counts((block + 1) * BLOCK)
        sources = np.repeat(np.arange(len(self._sizes)), np.subtract(end, first))
        counts = np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])
        shuffled = self._rng(block, len(self._sizes)).permutation(BLOCK)
        return sources[shuffled], counts[shuffled]

    def _order_of_epoch(self, source: int, epoch: int) -> np.ndarray:
        return self._rng(epoch, source).permutation(self._sizes[source])

    def _rng(self, number: int, stream: int) -> np.random.Generator:
        if len(self._sizes) == 1:
            return np.random.default_rng((self._seed, number))
        return np.random.default_rng(
            (self._seed, number, 1 + stream)
        )  # numpy pads seeds with 0, so no stream is 0
