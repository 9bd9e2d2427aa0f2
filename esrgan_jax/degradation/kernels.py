"""Blur kernels of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833, section 3.2), on a fixed square grid.

Kernels are [row, column] on a grid of `canvas` x `canvas`, zero beyond the central `size` x `size`, with sum 1. Sizes
and parameters may be traced, so that each sample of a compiled function has a kernel of its own. Angles are radians.

The elliptical kernels are functions of q = ((x cos t + y sin t) / sigma_x)^2 + ((y cos t - x sin t) / sigma_y)^2,
where x counts columns and y rows from the centre. Source: BasicSR 1.4.2, `basicsr/data/degradations.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

if TYPE_CHECKING:
    from jaxtyping import Array, Float

CANVAS = 21
"""Side of the grid, that of the largest kernel that is drawn."""

_J1_NODES = 96


def gaussian_kernel(
    size: ArrayLike,
    sigma_x: ArrayLike,
    sigma_y: ArrayLike,
    theta: ArrayLike = 0.0,
    *,
    canvas: int = CANVAS,
    dtype: Any = jnp.float32,
) -> Float[Array, "canvas canvas"]:
    """Return exp(-q/2): isotropic where both sigmas are equal, else turned by `theta`."""
    return _normalised(jnp.exp(-0.5 * _distance(sigma_x, sigma_y, theta, canvas, dtype)), size)


def generalized_kernel(
    size: ArrayLike,
    sigma_x: ArrayLike,
    sigma_y: ArrayLike,
    theta: ArrayLike,
    beta: ArrayLike,
    *,
    canvas: int = CANVAS,
    dtype: Any = jnp.float32,
) -> Float[Array, "canvas canvas"]:
    """Return exp(-q^beta / 2), the generalized Gaussian (Liu et al. 2020, arXiv:1910.13109)."""
    q = _distance(sigma_x, sigma_y, theta, canvas, dtype)
    return _normalised(jnp.exp(-0.5 * _power(q, beta)), size)


def plateau_kernel(
    size: ArrayLike,
    sigma_x: ArrayLike,
    sigma_y: ArrayLike,
    theta: ArrayLike,
    beta: ArrayLike,
    *,
    canvas: int = CANVAS,
    dtype: Any = jnp.float32,
) -> Float[Array, "canvas canvas"]:
    """Return 1 / (1 + q^beta)."""
    q = _distance(sigma_x, sigma_y, theta, canvas, dtype)
    return _normalised(1 / (1 + _power(q, beta)), size)


def sinc_kernel(
    size: ArrayLike, omega: ArrayLike, *, canvas: int = CANVAS, dtype: Any = jnp.float32
) -> Float[Array, "canvas canvas"]:
    """Return the ideal circular low-pass filter of cut-off frequency `omega` in (0, pi], which rings at edges.

    omega J1(omega r) / (2 pi r), and omega^2 / (4 pi) at the centre; no window. Some weights are negative.
    """
    x, y = _offsets(canvas, dtype)
    r = jnp.sqrt(x * x + y * y)
    safe = jnp.where(r > 0, r, 1)
    omega = jnp.asarray(omega, dtype)
    values = jnp.where(r > 0, omega * bessel_j1(omega * safe) / (2 * jnp.pi * safe), omega**2 / (4 * jnp.pi))
    return _normalised(values, size)


def bessel_j1(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the Bessel function of the first kind of order 1, for x from -45 to 45.

    J1(x) is the mean of cos(t - x sin t) over a period (Bessel's integral, DLMF 10.9.2); 96 equally spaced points of
    it are exact to 2e-15 in float64 and 6e-7 in float32. Half of them suffice, because the others mirror them.
    `jax.scipy.special.bessel_jn` is no alternative: NaN below 3.4 in float32 (jax 0.10.2).
    """
    t = (np.arange(_J1_NODES // 2) + 0.5) * (2 * np.pi / _J1_NODES)
    return jnp.mean(jnp.cos(t.astype(x.dtype) - x[..., None] * np.sin(t).astype(x.dtype)), axis=-1)


def _offsets(canvas: int, dtype: Any) -> tuple[Array, Array]:
    """Columns and rows from the centre: x [1, canvas], y [canvas, 1]."""
    r = jnp.arange(canvas, dtype=dtype) - canvas // 2
    return r[None, :], r[:, None]


def _distance(sigma_x: ArrayLike, sigma_y: ArrayLike, theta: ArrayLike, canvas: int, dtype: Any) -> Array:
    x, y = _offsets(canvas, dtype)
    sigma_x, sigma_y, theta = (jnp.asarray(value, dtype) for value in (sigma_x, sigma_y, theta))
    c, s = jnp.cos(theta), jnp.sin(theta)
    return ((c * x + s * y) / sigma_x) ** 2 + ((c * y - s * x) / sigma_y) ** 2


def _power(q: Array, beta: ArrayLike) -> Array:
    return jnp.where(q > 0, jnp.where(q > 0, q, 1) ** jnp.asarray(beta, q.dtype), 0)


def _normalised(values: Array, size: ArrayLike) -> Array:
    x, y = _offsets(len(values), values.dtype)
    inside = jnp.maximum(jnp.abs(x), jnp.abs(y)) <= jnp.asarray(size) // 2
    values = jnp.where(inside, values, 0)
    return values / jnp.sum(values)
