"""Several sources as one."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from esrgan_jax.data.pairs import Pair, Source
from esrgan_jax.errors import ConfigError


class Mixture:
    """The images of several sources, numbered through, and how much of each a run is to see.

    Args:
      sources: at least one.
      weights: how many patches of each, relative to each other, as (3, 1); empty for the numbers of images, which
        makes every image come equally often.

    Raises:
      ConfigError: a weight is missing, too much, or not above 0.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float] = ()):
        self.sizes = [len(source) for source in sources]
        numbers = all(isinstance(weight, int | float) and 0 < weight < float("inf") for weight in weights)
        if not numbers or (weights and len(weights) != len(sources)):
            raise ConfigError(
                f"data.train_weights (={tuple(weights)}) must be numbers above 0, as many as there are sources "
                f"({len(sources)}), or () for one image as often as another."
            )
        self.weights: list[float] = list(weights) or list(self.sizes)
        self._sources = list(sources)
        self._offsets = [0, *itertools.accumulate(self.sizes)]

    def __len__(self) -> int:
        return self._offsets[-1]

    def __getitem__(self, index: int) -> Pair:
        source, inner = self._find(index)
        return source[inner]

    def name(self, index: int) -> str:
        """What its source calls the image."""
        source, inner = self._find(index)
        return source.name(inner)

    def hr_size(self, index: int) -> tuple[int, int] | None:
        """(height, width) of the HR image, or None, as its source says."""
        source, inner = self._find(index)
        return source.hr_size(inner)

    def _find(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect.bisect_right(self._offsets, index) - 1
        return self._sources[number], index - self._offsets[number]
