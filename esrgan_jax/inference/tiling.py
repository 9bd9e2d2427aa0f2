"""How a picture is cut into square tiles of one size, and how their results are joined again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

BLEND = 0.25
"""The fraction of an overlap that is blended; the rest, at the edge of each tile, is dropped."""


@dataclass(frozen=True)
class Span:
    """One row or column of tiles along its axis.

    Attributes:
      start: first input pixel, in pixels of the trunk.
      low, high: range of the output pixels that it contributes to.
      rise, fall: weights of its first and last output pixels, where it is blended with its neighbours; all others
        have weight 1. The weights of both neighbours at one pixel sum to 1.
    """

    start: int
    low: int
    high: int
    rise: Float32[np.ndarray, " up"]
    fall: Float32[np.ndarray, " down"]


def count_spans(length: int, tile: int, overlap: int) -> int:
    """Return how many tiles cover `length` with an overlap of at least `overlap`, all in the same pixels."""
    return 1 if length <= tile else math.ceil((length - overlap) / (tile - overlap))


def split_axis(length: int, tile: int, overlap: int, blend: float, zoom: int, size: int) -> list[Span]:
    """Return the tiles along one axis of a picture.

    They are evenly spaced inside the picture, with an overlap of `overlap` or more. Only a single tile that is larger
    than the picture reaches past it.

    Args:
      length: of the picture, in pixels of the trunk, as are `tile` and `overlap` (less than `tile`).
      tile: side of a tile.
      overlap: the least overlap.
      blend: fraction of `overlap` that is blended; 0 cuts in the middle of the overlap.
      zoom: output pixels per pixel of the trunk.
      size: of the output; less than `length * zoom` where the picture was padded to whole pixels of the trunk.
    """
    count = count_spans(length, tile, overlap)
    starts = [round(i * (length - tile) / (count - 1)) for i in range(count)] if count > 1 else [0]
    seams = []
    for left, right in itertools.pairwise(starts):
        middle = (left + tile + right) * zoom // 2
        # At most the step between tiles, so that no pixel belongs to three of them.
        half = int(min(overlap * blend, right - left) * zoom / 2)
        phase = (np.arange(2 * half, dtype=np.float32) + 0.5) / max(2 * half, 1)
        seams.append((middle - half, middle + half, (0.5 - 0.5 * np.cos(np.pi * phase)).astype(np.float32)))
    none = np.ones(0, np.float32)
    before, after = [(0, 0, none), *seams], [*seams, (size, size, none)]
    return [
        Span(start, first[0], last[1], first[2], np.float32(1) - last[2])
        for start, first, last in zip(starts, before, after, strict=True)
    ]


def stitch(
    rows: list[Span],
    columns: list[Span],
    zoom: int,
    tiles: Iterator[Float32[np.ndarray, "s s c"]],
) -> Iterator[tuple[int, Float[np.ndarray, "h w c"]]]:
    """Yield strips (y0, float32) from top to bottom, joined from the results of tiles in reading order.

    The caller may change the strips. Only one strip, and the blended part of the one before, is in memory.
    """
    width, carry = columns[-1].high, None
    for index, row in enumerate(rows):
        strip = None
        for column in columns:
            result = next(tiles)
            if strip is None:
                strip = np.zeros((row.high - row.low, width, result.shape[-1]), np.float32)
                if carry is not None:
                    strip[: len(carry)] = carry
            y, x = row.low - row.start * zoom, column.low - column.start * zoom
            window = result[y : y + row.high - row.low, x : x + column.high - column.low].copy()
            _fade(window, row)
            _fade(window.swapaxes(0, 1), column)
            strip[:, column.low : column.high] += window
        assert strip is not None
        done = (rows[index + 1].low if index + 1 < len(rows) else row.high) - row.low
        carry = strip[done:].copy()
        finished = [strip[:done]]
        del strip  # may have hundreds of megabytes: free it before the next one is made
        yield row.low, finished.pop()


def _fade(window: np.ndarray, span: Span) -> None:
    """Multiply by the weights along the first axis, in place."""
    window[: len(span.rise)] *= span.rise[:, None, None]
    window[len(window) - len(span.fall) :] *= span.fall[:, None, None]
