"""Conversions of pictures between uint8, floats in [0, 1] and luma."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Num, UInt8
    from numpy.typing import ArrayLike, DTypeLike


def to_uint8(image: ArrayLike) -> UInt8[np.ndarray, "*shape"]:
    """Convert floats in [0, 1] to uint8: clamped, times 255, rounded to nearest.

    Args:
      image: any shape and floating dtype (jax arrays too); values outside [0, 1] are clamped.

    Returns:
      uint8 of the same shape. Halves are rounded to even, as in BasicSR's `tensor2img`.

    Source: BasicSR, basicsr/utils/img_util.py, `tensor2img`.
    """
    values = np.asarray(image)
    # 16-bit floats are too coarse for products up to 255.
    values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def to_float(
    image: UInt8[np.ndarray, "*shape"], dtype: DTypeLike = np.float32
) -> Float[np.ndarray, "*shape"]:
    """Convert uint8 to floats in [0, 1]: each value divided by 255, correctly rounded in `dtype`."""
    return np.divide(image, 255, dtype=dtype)


def rgb_to_y(image: Num[np.ndarray, "*shape 3"]) -> Float64[np.ndarray, "*shape"]:
    """Return the luma of ITU-R BT.601, which super-resolution papers measure on.

    Y = 16 + 65.481 R + 128.553 G + 24.966 B with R, G, B in [0, 1].

    Args:
      image: RGB in the last axis, uint8 or floats in [0, 1].

    Returns:
      Y without the last axis, float64 in [16, 235], not rounded.

    Raises:
      ValueError: the last axis does not have three channels.

    Source: MATLAB's `rgb2ycbcr` on doubles; BasicSR, `rgb2ycbcr(..., y_only=True)`.
    """
    if image.ndim == 0 or image.shape[-1] != 3:
        raise ValueError(f"`image` has shape {image.shape}; its last axis must be R, G, B.")
    rgb = to_float(image, np.float64) if image.dtype == np.uint8 else image.astype(np.float64)
    return 16 + 65.481 * rgb[..., 0] + 128.553 * rgb[..., 1] + 24.966 * rgb[..., 2]
