"""Convolutions in NHWC, and gradients of them that are fast on CPUs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from jaxtyping import Array, Float

DIMENSIONS = ("NHWC", "HWIO", "NHWC")

CACHE_SIZE = 2**19
"""Numbers that a core's cache holds: 2 MB of float32."""

ROWS_PER_STRIP = 32
"""Rows of a strip, at most, where the height can be cut so."""


def convolve(
    x: Float[Array, "n h w i"], w: Float[Array, "k k i o"], strides: int = 1
) -> Float[Array, "n h2 w2 o"]:
    """PyTorch's conv2d with zero padding 1 and without bias, in NHWC and HWIO."""
    return lax.conv_general_dilated(x, w, (strides, strides), ((1, 1), (1, 1)), dimension_numbers=DIMENSIONS)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Float[Array, "n h w i"], w: Float[Array, "k k i o"], strides: int) -> Float[Array, "n h2 w2 o"]:
    """`convolve` with gradients of its own for CPUs: 3x3, stride 1, and 4x4, stride 2.

    Inside a loop XLA:CPU runs lax's gradients of a convolution some 25 times slower than a plain NHWC/HWIO
    convolution, which is what those here are. They equal lax's own to rounding. Elsewhere lax's own run.
    """
    return convolve(x, w, strides)


def _forward(x, w, strides):
    return convolve(x, w, strides), (x, w)


def _backward(strides, saved, g):
    x, w = saved
    laxs_own = functools.partial(_laxs_gradients, strides)
    if (w.shape[0], strides) == (3, 1):
        on_cpu = _gradients
    elif (w.shape[0], strides) == (4, 2) and x.shape[1] % 2 == x.shape[2] % 2 == 0:
        on_cpu = _strided_gradients
    else:
        return laxs_own(x, w, g)
    return lax.platform_dependent(x, w, g, cpu=on_cpu, default=laxs_own)


def _laxs_gradients(strides, x, w, g):
    return jax.vjp(lambda x, w: convolve(x, w, strides), x, w)[1](g)


def _gradients(x, w, g):
    dx = convolve(g, jnp.flip(w, (0, 1)).swapaxes(2, 3))
    # A CPU gathers fewer patches where the side with fewer channels slides over the other.
    if x.shape[-1] <= g.shape[-1]:
        return dx, _weight_gradient_by_strips(x, g).transpose(1, 2, 0, 3).astype(w.dtype)
    return dx, jnp.flip(_weight_gradient_by_strips(g, x), (1, 2)).transpose(1, 2, 3, 0).astype(w.dtype)


def _strided_gradients(x, w, g):
    dx, dw = _laxs_gradients(2, x, w, g)  # what is not used is not computed
    n, height, width, channels = g.shape
    # Rearranging the weights costs more than it gains where they are many and the pixels few.
    return (_strided_input_gradient(w, g) if n * height * width > 4 * channels else dx), dw


def _strided_input_gradient(w, g):
    """The gradient for `x` of a 4x4 convolution of stride 2, without multiplying the zeros between `g`'s pixels.

    Rows 2y - 1 and 2y of the result depend on rows y - 1 and y of `g`: a 2x2 convolution makes both, as channels.
    """
    i, o = w.shape[2:]
    phases = jnp.flip(w.reshape(2, 2, 2, 2, i, o), (0, 2)).transpose(0, 2, 5, 1, 3, 4).reshape(2, 2, o, 4 * i)
    dx = convolve(g, phases)
    n, height, width, _ = dx.shape
    dx = dx.reshape(n, height, width, 2, 2, i).transpose(0, 1, 3, 2, 4, 5)
    return dx.reshape(n, 2 * height, 2 * width, i)[:, 1:-1, 1:-1]


def _weight_gradient_by_strips(a, b):
    """Sums a[n, y + j, x + k, i] * b[n, y, x, o] over n, y and x: [i, 3, 3, o], with j and k in -1, 0, 1.

    That is a convolution with the whole of `b` as its kernel. Where this does not fit into a CPU's caches, strips of
    one picture after the other are up to three times as fast (and `b` needs no transpose).
    """
    if b.size < CACHE_SIZE:
        return convolve(a.transpose(3, 1, 2, 0), b.transpose(1, 2, 0, 3))
    n, height, width, _ = b.shape
    rows = next((k for k in range(ROWS_PER_STRIP, ROWS_PER_STRIP // 4, -1) if height % k == 0), height)
    padded = jnp.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0))).transpose(0, 3, 1, 2)
    sums = jnp.promote_types(a.dtype, jnp.float32)

    def add(index, total):
        picture, y = index // (height // rows), index % (height // rows) * rows
        image = lax.dynamic_slice(padded, (picture, 0, y, 0), (1, padded.shape[1], rows + 2, width + 2))
        kernel = lax.dynamic_slice(b, (picture, y, 0, 0), (1, rows, width, b.shape[-1])).transpose(1, 2, 0, 3)
        part = lax.conv_general_dilated(
            image[0, ..., None], kernel, (1, 1), "VALID", dimension_numbers=DIMENSIONS
        )
        return total + part.astype(sums)

    zero = jnp.zeros((padded.shape[1], 3, 3, b.shape[-1]), sums)
    return lax.fori_loop(0, n * (height // rows), add, zero, unroll=2)


conv.defvjp(_forward, _backward)
