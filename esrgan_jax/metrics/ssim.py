"""Structural similarity, as super-resolution papers measure it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from esrgan_jax.metrics.protocol import cropped_pair

if TYPE_CHECKING:
    from jaxtyping import Float64, UInt8

_WINDOW = 11
_SIGMA = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_BAND = 128


def ssim(
    sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h w 3"], *, crop_border: int, y_channel: bool
) -> float:
    """Return the SSIM of a super-resolved picture against the original.

    Gaussian window of 11x11 with sigma 1.5, only where it lies inside the picture; C1 = (0.01 * 255)^2 and
    C2 = (0.03 * 255)^2; float64.

    Args:
      sr: the picture under test, uint8 RGB (floats clamped, times 255 and rounded).
      hr: the original, of the same shape.
      crop_border: pixels cut from each side first; papers cut as many as the scale.
      y_channel: compare luma in [16, 235], not rounded; otherwise each of R, G, B, then their mean.

    Returns:
      The mean over all window positions, at most 1; 1 for equal pictures.

    Raises:
      ValueError: the pictures are not uint8 [H, W, 3] of one shape, or the cut leaves less than 11x11.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004;
    BasicSR, basicsr/metrics/psnr_ssim.py, `calculate_ssim`.
    """
    a, b = cropped_pair(sr, hr, crop_border=crop_border, y_channel=y_channel)
    if min(a.shape[:2]) < _WINDOW:
        raise ValueError(
            f"`crop_border` (={crop_border}) leaves {a.shape[0]}x{a.shape[1]} pixels; SSIM needs at least "
            f"{_WINDOW}x{_WINDOW}."
        )
    height, width = (side - (_WINDOW - 1) for side in a.shape[:2])
    channels = 1 if y_channel else 3
    total = 0.0
    # In bands, channel by channel: temporary arrays of large pictures cost more than the arithmetic.
    for top in range(0, height, _BAND):
        rows = slice(top, min(top + _BAND, height) + _WINDOW - 1)
        band_a, band_b = (x[rows].reshape(-1, x.shape[1], channels) for x in (a, b))
        for c in range(channels):
            total += float(np.sum(_similarity(band_a[..., c].copy(), band_b[..., c].copy())))
    return total / (height * width * channels)


def _similarity(
    a: Float64[np.ndarray, "h w"], b: Float64[np.ndarray, "h w"]
) -> Float64[np.ndarray, "h-10 w-10"]:
    """Return the SSIM of every window inside the picture."""
    mean_a, mean_b = _smooth(a), _smooth(b)
    product = mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    # Population statistics, not sample ones. Of the variances only the sum is needed.
    covariance = _smooth(a * b) - product
    variances = _smooth(a * a + b * b) - squares
    return (2 * product + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))


def _smooth(x: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, "h-10 w-10"]:
    """Return the Gaussian mean of every window inside the picture."""
    import cv2  # here, so that PSNR needs no more than numpy

    reach = _WINDOW // 2
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SIGMA) ** 2)
    kernel /= kernel.sum()
    # Separable, 3 to 5 times as fast as scipy.ndimage and equal to 1e-15; OpenCV's padding is cut off again.
    return cv2.sepFilter2D(x, cv2.CV_64F, kernel, kernel)[reach:-reach, reach:-reach]
