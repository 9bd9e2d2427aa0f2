"""Resizing as torch's `F.interpolate` does, without antialiasing: area, bilinear, bicubic; a matrix for each axis.

Shrinking by a small factor skips pixels in bilinear and bicubic; that is part of the degradation. MATLAB's
antialiased bicubic, of which LR pictures of benchmarks are made, is `esrgan_jax.imaging.imresize`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from esrgan_jax.degradation.live import Size, live_size

if TYPE_CHECKING:
    from jaxtyping import Array, Float

MODES = ("area", "bilinear", "bicubic")
"""Names of the modes by their numbers."""

_CUBIC_A = -0.75


def resize(
    x: Float[Array, "h w c"],
    mode: ArrayLike | str,
    size_out: Size,
    *,
    factor: ArrayLike | None = None,
    size: Size | None = None,
    canvas: tuple[int, int] | None = None,
) -> Float[Array, "H W c"]:
    """Return the picture in another size, not clipped: bicubic overshoots.

    Output pixel i lies at r (i + 0.5) - 0.5 of the input (align_corners=False), in each axis. Bilinear and bicubic (a
    = -0.75) weigh the two or four pixels around it, those beyond the border being the border's; area is the mean of
    pixels floor(i in/out) to ceil((i + 1) in/out) - 1. Source: PyTorch, `aten/src/ATen/native/UpSample.h`.

    Args:
      x: the picture, any range.
      mode: one of `MODES`, or its number (may be traced).
      size_out: (height, width) of the result.
      factor: r is 1 / factor, as where torch is given a factor, which leads to floor(in * factor) pixels; None: r is
        in / out, as where torch is given a size. Only sizes count for area.
      size: of the live picture; None: the whole array.
      canvas: shape of the result, at least `size_out`, with zeros beyond it; None: `size_out`, known when compiling.
    """
    number = MODES.index(mode) if isinstance(mode, str) else mode
    canvas = (int(size_out[0]), int(size_out[1])) if canvas is None else canvas
    rows, columns = (
        resize_matrix(number, n_in, n_out, factor, shape=(side, x.shape[axis]), dtype=x.dtype)
        for axis, (n_in, n_out, side) in enumerate(zip(live_size(x, size), size_out, canvas, strict=True))
    )
    # On GPUs the default precision of products has 10 bits.
    y = jnp.einsum("yh,hwc->ywc", rows, x, precision=lax.Precision.HIGHEST)
    return jnp.einsum("xw,ywc->yxc", columns, y, precision=lax.Precision.HIGHEST)


def resize_matrix(
    mode: ArrayLike,
    n_in: ArrayLike,
    n_out: ArrayLike,
    factor: ArrayLike | None = None,
    *,
    shape: tuple[int, int],
    dtype: Any = jnp.float32,
) -> Float[Array, "canvas_out canvas_in"]:
    """Return the weights of the inputs of each output of one axis; zero for rows from `n_out`, columns from `n_in`.

    Args: see `resize`; `mode` is a number, `shape` that of the matrix.
    """
    n_in, n_out = jnp.asarray(n_in), jnp.asarray(n_out)
    i = jnp.arange(shape[0])[:, None]
    j = jnp.arange(shape[1])[None, :]
    ratio = n_in.astype(dtype) / n_out.astype(dtype) if factor is None else 1 / jnp.asarray(factor, dtype)
    centre = ratio * (i.astype(dtype) + 0.5) - 0.5
    weights = lax.select_n(
        jnp.asarray(mode, jnp.int32),
        _area(i, j, n_in, n_out, dtype),
        _bilinear(centre, j, n_in, dtype),
        _bicubic(centre, j, n_in, dtype),
    )
    return jnp.where((i < n_out) & (j < n_in), weights, 0)


def _area(i: Array, j: Array, n_in: Array, n_out: Array, dtype: Any) -> Array:
    first = i * n_in // n_out
    end = -(-(i + 1) * n_in // n_out)
    return ((j >= first) & (j < end)).astype(dtype) / (end - first).astype(dtype)


def _bilinear(centre: Array, j: Array, n_in: Array, dtype: Any) -> Array:
    # A border's pixel that stands for those beyond it is the hat function at a place that stays inside.
    place = jnp.clip(centre, 0, (n_in - 1).astype(dtype))
    return jnp.maximum(1 - jnp.abs(place - j.astype(dtype)), 0)


def _bicubic(centre: Array, j: Array, n_in: Array, dtype: Any) -> Array:
    a = _CUBIC_A
    left = jnp.floor(centre)
    t = centre - left
    weights = jnp.zeros(jnp.broadcast_shapes(centre.shape, j.shape), dtype)
    for tap in range(-1, 3):
        d = jnp.abs(t - tap)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        column = jnp.clip(left.astype(int) + tap, 0, n_in - 1)
        weights += jnp.where(j == column, near if tap in (0, 1) else far, 0)
    return weights
