"""Convolutions in NHWC, and gradients of them that are fast on CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from jaxtyping import Array, Float

DIMENSIONS = ("NHWC", "HWIO", "NHWC")

STRIP = 32
"""Rows of a strip, at most, where the height can be cut so."""


def convolve(
    x: Float[Array, "n h w i"], w: Float[Array, "k k i o"], strides: int = 1, padding: int = 1
) -> Float[Array, "n h2 w2 o"]:
    """PyTorch's conv2d without bias, in NHWC and HWIO."""
    pads = ((padding, padding), (padding, padding))
    return lax.conv_general_dilated(x, w, (strides, strides), pads, dimension_numbers=DIMENSIONS)


@jax.custom_vjp
def conv3x3(x: Float[Array, "n h w i"], w: Float[Array, "3 3 i o"]) -> Float[Array, "n h w o"]:
    """A 3x3 convolution, stride 1, zero padding 1, that carries its own gradient for CPUs.

    Inside a loop XLA:CPU runs lax's gradients of a convolution some 25 times slower than a plain NHWC/HWIO
    convolution, which is what both gradients here are. They equal lax's own to rounding. Elsewhere lax's own run.
    """
    return convolve(x, w)


def _conv3x3_forward(x, w):
    return convolve(x, w), (x, w)


def _conv3x3_backward(saved, g):
    return lax.platform_dependent(*saved, g, cpu=_gradients_on_cpu, default=_gradients)


def _gradients(x, w, g):
    return jax.vjp(convolve, x, w)[1](g)


def _gradients_on_cpu(x, w, g):
    dx = convolve(g, jnp.flip(w, (0, 1)).swapaxes(2, 3))
    # A CPU gathers fewer patches where the side with fewer channels slides over the other.
    if x.shape[-1] <= g.shape[-1]:
        return dx, _slide(x, g).transpose(1, 2, 0, 3).astype(w.dtype)
    return dx, jnp.flip(_slide(g, x), (1, 2)).transpose(1, 2, 3, 0).astype(w.dtype)


def _slide(a, b):
    """Sums a[n, y + j, x + k, i] * b[n, y, x, o] over n, y and x: [i, 3, 3, o], with j and k in -1, 0, 1.

    That is a convolution with the whole of `b` as its kernel, which does not fit into a CPU's caches: strip by strip
    it is up to three times as fast (and picture by picture `b` needs no transpose).
    """
    n, height, width, _ = b.shape
    rows = next((k for k in range(STRIP, STRIP // 4, -1) if height % k == 0), height)
    padded = jnp.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0))).transpose(0, 3, 1, 2)
    sums = jnp.promote_types(a.dtype, jnp.float32)

    def add(index, total):
        picture, y = index // (height // rows), index % (height // rows) * rows
        image = lax.dynamic_slice(padded, (picture, 0, y, 0), (1, padded.shape[1], rows + 2, width + 2))
        kernel = lax.dynamic_slice(b, (picture, y, 0, 0), (1, rows, width, b.shape[-1]))
        part = convolve(image[0, ..., None], kernel.transpose(1, 2, 0, 3), padding=0)
        return total + part.astype(sums)

    zero = jnp.zeros((padded.shape[1], 3, 3, b.shape[-1]), sums)
    return lax.fori_loop(0, n * (height // rows), add, zero, unroll=4)


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)
