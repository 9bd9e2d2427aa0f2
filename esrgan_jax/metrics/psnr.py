"""Peak signal-to-noise ratio, as super-resolution papers measure it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from esrgan_jax.metrics.protocol import cropped_pair

if TYPE_CHECKING:
    from jaxtyping import UInt8


def psnr(
    sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h w 3"], *, crop_border: int, y_channel: bool
) -> float:
    """Return the PSNR of a super-resolved picture against the original: 10 log10(255^2 / MSE), in float64.

    Args:
      sr: the picture under test, uint8 RGB (floats clamped, times 255 and rounded).
      hr: the original, of the same shape.
      crop_border: pixels cut from each side first; papers cut as many as the scale.
      y_channel: compare luma in [16, 235], not rounded; otherwise RGB, the mean over all channels.

    Returns:
      Decibels; `inf` for equal pictures.

    Raises:
      ValueError: the pictures are not uint8 [H, W, 3] of one shape, or nothing is left after the cut.

    Source: BasicSR, basicsr/metrics/psnr_ssim.py, `calculate_psnr`.
    """
    a, b = cropped_pair(sr, hr, crop_border=crop_border, y_channel=y_channel)
    mse = float(np.mean((a - b) ** 2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)
