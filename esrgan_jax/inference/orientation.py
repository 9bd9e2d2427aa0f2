"""The eight flips and rotations of a square, for the self-ensemble (Timofte et al. 2016, seven ways)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Num


@dataclass(frozen=True)
class Orientation:
    """A transposition, then a vertical flip, then a horizontal flip; each may be left out."""

    transpose: bool = False
    upside_down: bool = False
    mirror: bool = False

    def apply(self, square: Num[np.ndarray, "s s c"]) -> Num[np.ndarray, "s s c"]:
        """Return a view of a square in this orientation."""
        if self.transpose:
            square = square.swapaxes(0, 1)
        return square[:: -1 if self.upside_down else 1, :: -1 if self.mirror else 1]

    def undo(self, square: Num[np.ndarray, "s s c"]) -> Num[np.ndarray, "s s c"]:
        """Return a view of a square in this orientation as it was before `apply`."""
        square = square[:: -1 if self.upside_down else 1, :: -1 if self.mirror else 1]
        return square.swapaxes(0, 1) if self.transpose else square

    def transform_box(self, height: int, width: int, side: int) -> tuple[int, int, int, int]:
        """Return where `apply` moves a rectangle in the upper left corner of a square: y0, y1, x0, x1."""
        if self.transpose:
            height, width = width, height
        y = (side - height, side) if self.upside_down else (0, height)
        return (*y, side - width, side) if self.mirror else (*y, 0, width)


ORIENTATIONS = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]
"""All eight; the first is the identity."""
