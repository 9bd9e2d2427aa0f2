"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957), as torch.nn.utils.spectral_norm has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from esrgan_jax.models.convolution import conv
from esrgan_jax.models.layers import default_weight_init

if TYPE_CHECKING:
    from jaxtyping import Array, Float


def normalize(a: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return a vector of length 1: a / max(its norm, 1e-12)."""
    return a / jnp.maximum(jnp.linalg.norm(a), 1e-12)


class SpectralConv(nn.Module):
    """`layers.Conv` without bias, its weight divided by an estimate sigma of the largest singular value.

    The weight `weight_orig` [k, k, in, out] counts as a matrix M [out, in*k*k] in PyTorch's order. The estimate is
    u (M v) with the vectors `weight_u` [out] and `weight_v` [in*k*k] of the collection "spectral_norm". A forward in
    train mode moves them first, by one step of the power iteration: v becomes M'u and then u becomes M v, each
    normalised; they stay moved where the collection is mutable. At the start they are random, so that sigma means
    little before the first step. Gradients pass through sigma, not through u and v.

    u, v and sigma are in the weight's precision, at least float32, whatever `dtype` is.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n h2 w2 features"]:
        """Convolve; height and width become (size + 2 - kernel_size) // strides + 1."""
        k, channels = self.kernel_size, x.shape[-1]
        shape = (k, k, channels, self.features)
        weight = self.param("weight_orig", default_weight_init, shape, self.param_dtype)
        weight = weight.astype(jnp.promote_types(weight.dtype, jnp.float32))

        def start(length):
            return normalize(jax.random.normal(self.make_rng("params"), (length,), weight.dtype))

        u_state = self.variable("spectral_norm", "weight_u", start, self.features)
        v_state = self.variable("spectral_norm", "weight_v", start, channels * k * k)
        u, v = u_state.value, v_state.value
        matrix = weight.transpose(3, 2, 0, 1).reshape(self.features, -1)
        if train and not self.is_initializing():
            fixed = lax.stop_gradient(matrix)
            v = normalize(_product(fixed.T, u))
            u = normalize(_product(fixed, v))
            if self.is_mutable_collection("spectral_norm"):
                u_state.value, v_state.value = u, v
        u, v = lax.stop_gradient((u, v))
        weight = weight / jnp.sum(u * _product(matrix, v))
        x, weight = promote_dtype(x, weight, dtype=self.dtype)
        return conv(x, weight, self.strides)


def _product(matrix: Float[Array, "a b"], vector: Float[Array, " b"]) -> Float[Array, " a"]:
    # GPUs and TPUs would round the numbers first.
    return jnp.matmul(matrix, vector, precision=lax.Precision.HIGHEST)
