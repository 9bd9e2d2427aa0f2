"""A picture in memory with all that belongs to it: pixels, alpha, metadata."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np

from esrgan_jax.imaging.metadata import Metadata

if TYPE_CHECKING:
    from jaxtyping import UInt


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture in memory.

    Attributes:
      pixels: [H, W] grey or [H, W, 3] RGB, uint8 or uint16, full range; upright.
      alpha: [H, W] of the same dtype, 0 = transparent, not premultiplied; None: the file has none.
      metadata: colour profile, EXIF, XMP, ...
      notes: what had to be changed, each a clause to follow the file's name.
    """

    pixels: UInt[np.ndarray, "h w *c"]
    alpha: UInt[np.ndarray, "h w"] | None = None
    metadata: Metadata = dataclasses.field(default_factory=Metadata)
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """In pixels."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.pixels.shape[1]

    def samples(self) -> UInt[np.ndarray, "h w samples"]:
        """Return pixels and alpha as one array of 1 to 4 samples: grey, grey and alpha, RGB, RGBA."""
        pixels = self.pixels if self.pixels.ndim == 3 else self.pixels[..., None]
        return pixels if self.alpha is None else np.concatenate([pixels, self.alpha[..., None]], axis=-1)

    def with_8_bits(self) -> Picture:
        """Return the picture rounded to 8 bits, with a note; unchanged if it has 8 bits."""
        if self.pixels.dtype == np.uint8:
            return self
        return dataclasses.replace(
            self,
            pixels=round_to_8_bits(self.pixels),
            alpha=None if self.alpha is None else round_to_8_bits(self.alpha),
            notes=(*self.notes, "16 bits were rounded to 8"),
        )

    def on_white(self) -> Picture:
        """Return the picture blended over white, with a note; unchanged if it has no alpha."""
        if self.alpha is None:
            return self
        white = np.iinfo(self.pixels.dtype).max
        share = (self.alpha if self.pixels.ndim == 2 else self.alpha[..., None]).astype(np.float32) / white
        over = np.rint(self.pixels * share + white * (1 - share)).astype(self.pixels.dtype)
        return dataclasses.replace(
            self, pixels=over, alpha=None, notes=(*self.notes, "transparent parts were put over white")
        )


def round_to_8_bits(values: UInt[np.ndarray, "*shape"]) -> UInt[np.ndarray, "*shape"]:
    """Round 16-bit values to the nearest of 256 levels."""
    # 65535 = 255 * 257, so this is the nearest level, and never a tie.
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def fill_transparent(
    pixels: UInt[np.ndarray, "h w *c"], alpha: UInt[np.ndarray, "h w"]
) -> UInt[np.ndarray, "h w *c"]:
    """Give fully transparent pixels the colour of the nearest pixel that is not.

    Their values are accidental, most often black. A network looks at neighbourhoods and would draw them into the
    visible edge as a dark fringe.

    Args:
      pixels: grey or RGB, not premultiplied.
      alpha: 0 = transparent.

    Returns:
      A copy, or `pixels` where nothing or everything is transparent.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    # Labels of the visible pixels (they are zero in the mask), and for each pixel the label of the nearest.
    _, nearest = cv2.distanceTransformWithLabels(
        hidden.view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    visible = ~hidden
    where = np.zeros(nearest.max() + 1, np.int64)
    where[nearest[visible]] = np.flatnonzero(visible)
    result = pixels.copy()
    flat = pixels.reshape(-1, *pixels.shape[2:])
    result[hidden] = flat[where[nearest[hidden]]]
    return result
