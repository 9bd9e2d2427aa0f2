"""Which image patch number n of a run is cut from, for every n at once: nothing is counted on the way."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

BLOCK = 1024
"""Patches among which the sources of a mixture are shuffled. Another number is another order."""


class Order:
    """The images of one or several sources without end: each source epoch after epoch, in an order of its own.

    Of several sources each gets its share: after n patches, a multiple of `BLOCK`, the count of every source is
    within len(sizes) of n * weight / sum of weights; between, the sources come in random order.

    In place of grain's `shuffle().repeat()` and `mix()`: the first takes 4 ms of CPU time for every element where
    there are seven images, and 0.4 ms where there are a hundred, because it tries numbers below 65,536 until one
    is in range; the second alternates strictly, so that of two processes one would get all of one source.

    Args:
      sizes: number of images of each source; images are numbered through, source after source.
      weights: shares of the sources, above 0; for one source they do not matter.
      seed: 0 or larger.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int):
        self._sizes = list(sizes)
        self._offsets = [0, *itertools.accumulate(sizes)]
        self._seed = seed
        # The share of each source in what the sources before it leave over: so every count is a rounded-down
        # multiple of a count that only grows, and none is ever taken back.
        exact = [Fraction(str(weight)) for weight in weights]
        self._shares = [weight / sum(exact[number:]) for number, weight in enumerate(exact)]
        # Reading ahead crosses epochs, several of them where there are fewer images than patches in a batch.
        self._epoch = functools.lru_cache(maxsize=16 * len(self._sizes))(self._order_of_epoch)
        self._block = functools.lru_cache(maxsize=16)(self._order_of_block)

    def images(self, index: int) -> Iterator[int]:
        """The image of patch `index`, then those that take its place, one after the other, should it be bad.

        They are the rest of the same epoch of the same source, so that a bad image moves no other.
        """
        source, turn = (0, index) if len(self._sizes) == 1 else self._source_and_count(index)
        epoch, place = divmod(turn, self._sizes[source])
        order = self._epoch(source, epoch)
        for image in itertools.chain(order[place:], order[:place]):
            yield self._offsets[source] + int(image)

    def _source_and_count(self, index: int) -> tuple[int, int]:
        """Which source patch `index` comes from, and how many patches of that source come before it."""
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
        return np.random.default_rng((self._seed, number, 1 + stream))  # numpy pads with 0: so none is 0
