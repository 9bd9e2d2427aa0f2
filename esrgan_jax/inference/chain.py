"""Upscalers one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from esrgan_jax.inference.channels import check_image, max_value, to_dtype
from esrgan_jax.inference.upscaler import OnTile, Upscaler

if TYPE_CHECKING:
    from jaxtyping import Num


class Chain:
    """Upscalers one after another, called like one.

    What one gives goes to the next as float32, clipped to [0, 1] and not rounded. It is held in memory whole; the
    last result can be taken in strips.

    Attributes:
      scale: the product of all scales.
    """

    def __init__(self, upscalers: Sequence[Upscaler]):
        self.scale = math.prod(upscaler.scale for upscaler in upscalers)
        self._upscalers = list(upscalers)

    def tile_count(self, height: int, width: int, channels: int = 3) -> int:
        """How many tiles all networks together take for a picture of that size, see `Upscaler.tile_count`."""
        return sum(self._tile_counts(height, width, channels))

    def __call__(
        self, image: Num[np.ndarray, "h w *c"], on_tile: OnTile | None = None
    ) -> Num[np.ndarray, "scale*h scale*w *c"]:
        """The enlarged picture, see `Upscaler.__call__`."""
        return np.concatenate([rows for _, rows in self.strips(image, on_tile)])

    def strips(
        self, image: Num[np.ndarray, "h w *c"], on_tile: OnTile | None = None
    ) -> Iterator[tuple[int, Num[np.ndarray, "rows scale*w *c"]]]:
        """The enlarged picture in strips (y0, rows), see `Upscaler.strips`."""
        check_image(image)
        return self._strips(image, on_tile)

    def _strips(self, image: np.ndarray, on_tile: OnTile | None) -> Iterator[tuple[int, np.ndarray]]:
        height, width, channels = (*image.shape, 1)[:3]
        counts = self._tile_counts(height, width, channels)
        x = image.astype(np.float32) / np.float32(max_value(image.dtype))
        *first, last = self._upscalers
        for index, upscaler in enumerate(first):
            x = upscaler(x, _part(on_tile, counts, index))
            np.clip(x, 0, 1, out=x)
        for y, rows in last.strips(x, _part(on_tile, counts, len(first))):
            yield y, to_dtype(rows, image.dtype)

    def _tile_counts(self, height: int, width: int, channels: int) -> list[int]:
        counts = []
        for upscaler in self._upscalers:
            counts.append(upscaler.tile_count(height, width, channels))
            height, width = height * upscaler.scale, width * upscaler.scale
        return counts


def _part(on_tile: OnTile | None, counts: list[int], index: int) -> OnTile | None:
    """What tells `on_tile` about one of several networks."""
    if on_tile is None:
        return None
    before, after = sum(counts[:index]), sum(counts[index + 1 :])
    return lambda done, total: on_tile(before + done, before + total + after)
