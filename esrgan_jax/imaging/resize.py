"""MATLAB's bicubic `imresize`, which makes the low-resolution images of super-resolution benchmarks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float64, Int, Num


def imresize(image: Num[np.ndarray, "h w *c"], scale: float) -> Num[np.ndarray, "h_out w_out *c"]:
    """Resize a picture as MATLAB's `imresize(image, scale)`: bicubic and antialiased.

    Cubic kernel with a = -0.5, stretched by 1 / `scale` when shrinking; mirrored borders; rows first, then columns;
    float64. As in MATLAB, the result of the first pass has the dtype of `image`: uint8 is rounded and clipped twice.
    For `im2uint8(imresize(im2double(image), scale))`, which is rounded once and may differ by 1, pass floats:
    `to_uint8(imresize(to_float(image, np.float64), scale))`.

    Args:
      image: [H, W] or [H, W, C], uint8 or any floating dtype, any range.
      scale: output size / input size; the output has ceil(H * scale) x ceil(W * scale) pixels.

    Returns:
      The resized picture in the dtype of `image`. Floats are neither clipped nor rounded and overshoot at edges;
      uint8 is rounded (half up) and clipped.

    Raises:
      ValueError: `scale` is not a positive number, or `image` is empty or has another shape or dtype.

    Source: MathWorks, imresize.m (its rule of contributions, and Keys' kernel); each pass returns the class of
    its input, rows go first when both scales are equal. All 366 uint8 values that Octave's image package
    publishes from MATLAB come out equal (tests/imaging/test_resize.py).
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"`scale` (={scale}) must be a positive number.")
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"`image` has shape {image.shape}; it must be [H, W] or [H, W, C] and not empty.")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"`image` is of type {image.dtype}; it must be uint8 or floating.")

    rows = _resize_rows(image, scale)
    result = _resize_rows(rows.swapaxes(0, 1), scale).swapaxes(0, 1)
    return np.ascontiguousarray(result, dtype=image.dtype)


def _resize_rows(image: Num[np.ndarray, "n ..."], scale: float) -> Num[np.ndarray, "n_out ..."]:
    """Resize the first axis: uint8 to uint8, floats to float64."""
    from scipy.sparse import csr_array  # here: it takes a tenth of a second, and few pictures need it

    weights, indices = _contributions(len(image), scale)
    size, taps = weights.shape
    starts = np.arange(0, size * taps + 1, taps)
    # A sparse product, not a dense one: the threads of BLAS made this ten times slower on a busy machine (a training
    # run and its decoders). Repeated indices, at borders, add up as they should.
    matrix = csr_array((weights.ravel(), indices.ravel(), starts), shape=(size, len(image)))
    matrix.eliminate_zeros()
    result = matrix @ image.reshape(len(image), -1).astype(np.float64)
    if image.dtype == np.uint8:
        result += 0.5
        result = np.clip(np.floor(result, out=result), 0, 255, out=result).astype(np.uint8)
    return result.reshape(size, *image.shape[1:])


def _contributions(
    size: int, scale: float
) -> tuple[Float64[np.ndarray, "n_out taps"], Int[np.ndarray, "n_out taps"]]:
    """Return the weights and the indices (from 0) of the inputs of each output of one axis."""
    stretch = min(scale, 1.0)
    width = 4 / stretch
    # Positions count from 1, as in MATLAB: the formulas are the same to the last bit.
    centre = np.arange(1, math.ceil(size * scale) + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    positions = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = stretch * _cubic(stretch * (centre[:, None] - positions))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(size), np.arange(size)[::-1]])
    return weights, mirrored[(positions.astype(int) - 1) % (2 * size)]


def _cubic(x: Float64[np.ndarray, "n_out taps"]) -> Float64[np.ndarray, "n_out taps"]:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE Trans. ASSP 29, 1981)."""
    x = np.abs(x)
    x2 = x * x
    x3 = x2 * x  # not x**3: a library's power may differ in the last bit, and with it a value that ends in .5
    near = 1.5 * x3 - 2.5 * x2 + 1
    far = -0.5 * x3 + 2.5 * x2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
