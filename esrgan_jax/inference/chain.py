"""Upscalers applied one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from esrgan_jax.inference.channels import check_image, max_value, to_dtype
from esrgan_jax.inference.enlarge import enlarge
from esrgan_jax.inference.progress import Progress, TileTotals
from esrgan_jax.inference.upscaler import Upscaler

if TYPE_CHECKING:
    from jaxtyping import Num


class Chain:
    """Several upscalers, applied one after another; is called like one of them.

    Each result goes to the next upscaler as float32, clipped to [0, 1] and not rounded. It is in memory as a whole;
    only the last result can be taken in strips.

    Attributes:
      scale: output size / input size, the product of all scales.
    """

    def __init__(self, upscalers: Sequence[Upscaler]):
        self.scale = math.prod(upscaler.scale for upscaler in upscalers)
        self._upscalers = list(upscalers)

    __call__ = enlarge

    def tile_count(self, height: int, width: int, channels: int = 3) -> int:
        """Return the number of tiles of all upscalers together, see `Upscaler.tile_count`."""
        return sum(self._tile_counts(height, width, channels))

    def strips(
        self, image: Num[np.ndarray, "h w *c"], progress: Progress | None = None
    ) -> Iterator[tuple[int, Num[np.ndarray, "rows scale*w *c"]]]:
        """Return the enlarged picture in strips (y0, rows), see `Upscaler.strips`."""
        check_image(image)
        return self._strips(image, progress)

    def _strips(self, image: np.ndarray, progress: Progress | None) -> Iterator[tuple[int, np.ndarray]]:
        height, width, channels = (*image.shape, 1)[:3]
        totals = TileTotals(progress, self._tile_counts(height, width, channels))
        x = image.astype(np.float32) / np.float32(max_value(image.dtype))
        *first, last = self._upscalers
        for index, upscaler in enumerate(first):
            x = upscaler(x, progress=totals.of(index))
            np.clip(x, 0, 1, out=x)
        for y, rows in last.strips(x, totals.of(len(first))):
            yield y, to_dtype(rows, image.dtype)

    def _tile_counts(self, height: int, width: int, channels: int) -> list[int]:
        counts = []
        for upscaler in self._upscalers:
            counts.append(upscaler.tile_count(height, width, channels))
            height, width = height * upscaler.scale, width * upscaler.scale
        return counts
