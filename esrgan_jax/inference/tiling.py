"""How a picture is cut into square tiles of one size, and how their results become one picture again."""

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
"""The share of an overlap over which two tiles are blended; the rest, on the rim of each tile, is dropped."""


@dataclass(frozen=True)
class Span:
    """One row or column of tiles along its axis.

    Attributes:
      start: where its input begins, in pixels of the trunk.
      low, high: the output pixels it contributes to.
      rise, fall: the weights of its first and last output pixels, where it is blended with its neighbours; all
        others weigh 1. What the neighbour's weights lack to 1 is this one's, so order does not matter.
    """

    start: int
    low: int
    high: int
    rise: Float32[np.ndarray, " up"]
    fall: Float32[np.ndarray, " down"]


def count_spans(length: int, tile: int, overlap: int) -> int:
    """How many tiles cover `length` when neighbours share at least `overlap` (all in the same pixels)."""
    return 1 if length <= tile else math.ceil((length - overlap) / (tile - overlap))


def split_axis(length: int, tile: int, overlap: int, blend: float, zoom: int, size: int) -> list[Span]:
    """Cuts one axis of a picture.

    Tiles stay inside the picture, evenly spread, so that neighbours share `overlap` or more: a single tile that
    is larger than the picture is the only one that reaches past it.

    Args:
      length: of the picture, in pixels of the trunk, as are `tile` and `overlap` (less than `tile`).
      blend: the share of `overlap` that is blended; 0 cuts in the middle of what two tiles share.
      zoom: output pixels for one pixel of the trunk.
      size: of the output; less than `length * zoom` where the picture was padded to whole pixels of the trunk.
    """
    count = count_spans(length, tile, overlap)
    starts = [round(i * (length - tile) / (count - 1)) for i in range(count)] if count > 1 else [0]
    seams = []
    for left, right in itertools.pairwise(starts):
        middle = (left + tile + right) * zoom // 2
        # No more than the step between tiles: then no pixel belongs to three of them.
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
    """Joins the results of tiles, in reading order, into strips (y0, float32) from top to bottom.

    The strips are the caller's to change. Besides one strip only its blended rim is held.
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
        del strip  # hundreds of megabytes if the picture is wide, not to be held while the next is made
        yield row.low, finished.pop()


def _fade(window: np.ndarray, span: Span) -> None:
    """Applies the weights along the first axis, in place."""
    window[: len(span.rise)] *= span.rise[:, None, None]
    window[len(window) - len(span.fall) :] *= span.fall[:, None, None]
