"""Overlapping squares of a large picture: quick to decode, where a whole 2K PNG takes 80 ms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from esrgan_jax.data.pairs import Pair
from esrgan_jax.errors import ConfigError


@dataclass(frozen=True)
class Grid:
    """How pictures are cut into sub-images.

    Attributes:
      crop_size: side of a sub-image in HR pixels (BasicSR: 480).
      step: distance from one to the next in HR pixels (BasicSR: 240).

    Source: scripts/data_preparation/extract_subimages.py of BasicSR 1.4.2, with thresh_size 0.
    """

    crop_size: int = 480
    step: int = 240

    def check(self, scale: int) -> None:
        """Raises ConfigError unless the grid falls on whole LR pixels and leaves no gap."""
        for name, value in (("--crop-size", self.crop_size), ("--step", self.step)):
            if value < 1 or value % scale:
                raise ConfigError(f"{name} (={value}) must be a multiple of the scale (={scale}).")
        if self.step > self.crop_size:
            raise ConfigError(
                f"--step (={self.step}) must not exceed --crop-size (={self.crop_size}): pixels between two "
                "sub-images would be lost."
            )

    def cut(self, pair: Pair, scale: int) -> Iterator[Pair]:
        """The sub-images of a pair, row by row, as views into it.

        Args:
          pair: {"lr": [h, w, 3], "hr": [h * scale, w * scale, 3]}.
          scale: how many times HR is larger.

        Yields:
          Pairs of LR side crop_size / scale and HR side crop_size at the same place; as high or as wide as
          the picture where that is smaller.
        """
        lr, hr = pair["lr"], pair["hr"]
        side = self.crop_size // scale
        for y in starts(lr.shape[0], side, self.step // scale):
            for x in starts(lr.shape[1], side, self.step // scale):
                bottom, right = min(y + side, lr.shape[0]), min(x + side, lr.shape[1])
                yield {
                    "lr": lr[y:bottom, x:right],
                    "hr": hr[y * scale : bottom * scale, x * scale : right * scale],
                }


def starts(size: int, side: int, step: int) -> list[int]:
    """Where sub-images of `side` pixels begin on an axis of `size`: every `step`, and one more at the border.

    The last one is there if the steps leave anything over; it begins at size - side.
    """
    found = list(range(0, size - side + 1, step)) or [0]
    if found[-1] + side < size:
        found.append(size - side)
    return found
