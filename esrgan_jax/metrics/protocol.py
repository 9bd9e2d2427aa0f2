"""The first steps of every metric: check the pair, cut the border, choose the channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from esrgan_jax.imaging.color import rgb_to_y

if TYPE_CHECKING:
    from jaxtyping import Float64, UInt8


def cropped_pair(
    sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h w 3"], *, crop_border: int, y_channel: bool
) -> tuple[Float64[np.ndarray, "h2 w2 *c"], Float64[np.ndarray, "h2 w2 *c"]]:
    """Return both pictures without their borders, as float64 in [0, 255]: [H, W] luma or [H, W, 3] RGB.

    Raises:
      ValueError: the pictures are not uint8 [H, W, 3] of one shape, or nothing is left after the cut.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"`sr` has shape {sr.shape}, `hr` {hr.shape}; they must be equal.")
    for name, image in (("sr", sr), ("hr", hr)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"`{name}` is {image.dtype} of shape {image.shape}; it must be uint8 [H, W, 3].")
    height, width = hr.shape[:2]
    if crop_border < 0 or 2 * crop_border >= min(height, width):
        raise ValueError(f"`crop_border` (={crop_border}) leaves nothing of {height}x{width} pixels.")
    inside = (slice(crop_border, height - crop_border), slice(crop_border, width - crop_border))
    if y_channel:
        return rgb_to_y(sr[inside]), rgb_to_y(hr[inside])
    return sr[inside].astype(np.float64), hr[inside].astype(np.float64)
