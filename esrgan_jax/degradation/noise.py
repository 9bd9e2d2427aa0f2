"""Gaussian and Poisson noise, in colour or grey: one noise for the three channels."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from esrgan_jax.degradation.live import Size, inside, live_size

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

LUMA = (0.2989, 0.587, 0.114)
"""Weights of R, G, B in the grey picture that grey Poisson noise is drawn from, as torchvision has them."""

_COUNTS = 512


def gaussian_noise(
    x: Float[Array, "h w c"], key: Array, sigma: ArrayLike, grey: ArrayLike
) -> Float[Array, "h w c"]:
    """Return x + N(0, 1) * sigma / 255, not clipped.

    Source: BasicSR 1.4.2, `random_add_gaussian_noise_pt`, where grey noise is one picture for a whole batch; here
    each sample has its own.

    Args:
      x: in [0, 1].
      key: random key; the numbers depend on it and on the shape of `x`.
      sigma: standard deviation in levels of 255.
      grey: whether all channels get the noise of the first; may be traced.
    """
    # In float32 whatever x is, so that a test in float64 sees the same noise.
    noise = jax.random.normal(key, x.shape, jnp.float32)
    return x + _shared(noise, grey).astype(x.dtype) * (jnp.asarray(sigma, x.dtype) / 255)


def poisson_noise(
    x: Float[Array, "h w 3"],
    key: Array,
    scale: ArrayLike,
    grey: ArrayLike,
    size: Size | None = None,
    table: Float[Array, "9 256 512"] | None = None,
) -> Float[Array, "h w 3"]:
    """Return x + scale * (Poisson(y v) / v - y), not clipped, where y is x rounded to levels of 255.

    v is the number of different values in y over all pixels and channels of the picture, rounded up to a power of 2.
    Grey: y is luma, with a v of its own. The counts are drawn by inverting the distribution, of which y has at most
    256.
    Source: BasicSR 1.4.2, `random_add_poisson_noise_pt`.

    Args:
      x: RGB, any range.
      key: random key; the numbers depend on it and on the shape of `x`.
      scale: of the noise.
      grey: whether one noise is added to all channels; may be traced.
      size: of the live picture, whose pixels count for v; None: the whole array.
      table: `poisson_table()`, where it is on the device already.
    """
    table = jnp.asarray(poisson_table()) if table is None else table
    luma = jnp.sum(x * jnp.asarray(LUMA, x.dtype), axis=-1, keepdims=True)
    base = jnp.where(grey, luma, x)
    levels = jnp.clip(jnp.round(base * 255), 0, 255).astype(jnp.int32)
    exponent = value_exponent(levels, size)
    uniform = _shared(jax.random.uniform(key, x.shape, jnp.float32), grey)
    counts = _inverted(lax.dynamic_index_in_dim(table, exponent, keepdims=False), levels, uniform)
    values = (2**exponent).astype(x.dtype)
    return x + jnp.asarray(scale, x.dtype) * (counts.astype(x.dtype) / values - levels.astype(x.dtype) / 255)


def value_exponent(levels: Int[Array, "h w c"], size: Size | None = None) -> Int[Array, ""]:
    """Return ceil(log2 n) for the number n of different levels 0..255 in a live picture."""
    live = inside(levels.shape, live_size(levels, size))
    bit = jnp.where(live, jnp.uint32(1) << (levels & 31).astype(jnp.uint32), jnp.uint32(0))
    words = [
        lax.reduce(
            jnp.where(levels >> 5 == word, bit, jnp.uint32(0)), np.uint32(0), lax.bitwise_or, (0, 1, 2)
        )
        for word in range(8)
    ]
    different = jnp.sum(lax.population_count(jnp.stack(words))).astype(jnp.int32)
    return jnp.sum(different > 2 ** jnp.arange(8)).astype(jnp.int32)


@functools.cache
def poisson_table() -> Float[np.ndarray, "9 256 512"]:
    """Return the distribution functions at counts 0..511 of the rates 2^e level / 255, by e 0..8 and level 0..255."""
    from scipy.special import pdtr

    rates = 2.0 ** np.arange(9)[:, None, None] * np.arange(256)[:, None] / 255
    return pdtr(np.arange(_COUNTS), rates).astype(np.float32)


def _inverted(table: Array, levels: Array, uniform: Array) -> Array:
    """The smallest counts whose distribution function, row `levels` of the table, exceeds the uniform numbers."""
    start = levels * _COUNTS
    flat = table.reshape(-1)
    counts = jnp.zeros_like(levels)
    step = _COUNTS // 2
    while step:
        below = flat[start + (counts + step - 1)] <= uniform
        counts += jnp.where(below, step, 0)
        step //= 2
    return counts


def _shared(field: Array, grey: ArrayLike) -> Array:
    return jnp.where(grey, field[..., :1], field)
