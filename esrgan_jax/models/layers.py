"""The layers that ESRGAN's networks share, with PyTorch's numbers in NHWC.

Every layer takes two dtypes as flax's own do: `param_dtype` of the parameters, `dtype` of the computation (None: what
inputs and parameters promote to, so that float64 stays float64).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from esrgan_jax.models.convolution import conv

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

MOMENTUM = 0.1  # torch's meaning: the share of the new batch

Initializer = Callable[..., Any]
default_weight_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def uniform_bias_init(fan_in: int) -> Initializer:
    """PyTorch's default for biases: uniform in +-1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


def accumulation_dtype(dtype: Any) -> Any:
    """The dtype for sums and outputs: float32 where half precision is asked for, `dtype` itself otherwise."""
    return None if dtype is None else jnp.promote_types(dtype, jnp.float32)


def to_compute_dtype(x: Float[Array, "..."], dtype: Any) -> Float[Array, "..."]:
    """Cast `x` to the dtype of the computation; None leaves it as it is."""
    return x if dtype is None else x.astype(dtype)


def leaky_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """LeakyReLU with ESRGAN's slope of 0.2."""
    return jnp.where(x > 0, x, 0.2 * x)


def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """ReLU; NaN stays NaN, the gradient at 0 is 0."""
    # Not a maximum: XLA:CPU would make one slow piece of all layers of a VGG19 without gradients.
    return jnp.where(x <= 0, 0, x)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """The largest of every 2x2 pixels, NaN included; the gradient goes to the first of equal ones, as in PyTorch."""

    # Not a window's reduction: XLA:CPU scatters its gradient number by number, 4 to 17 times slower.
    def larger(a, b):
        return jnp.where((a >= b) | jnp.isnan(a), a, b)

    _, h, w, _ = x.shape
    x = larger(x[:, :, : w // 2 * 2 : 2], x[:, :, 1::2])
    return larger(x[:, : h // 2 * 2 : 2], x[:, 1::2])


def masked(x: Float[Array, "n h w c"], mask: Bool[Array, "n h w 1"] | None) -> Float[Array, "n h w c"]:
    """Zero where `mask` is False; None leaves `x` as it is."""
    return x if mask is None else jnp.where(mask, x, 0)


def upsample_nearest(x: Float[Array, "n h w c"], factor: int = 2) -> Float[Array, "n factor*h factor*w c"]:
    """Enlarge height and width by repeating every pixel."""
    n, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (n, h, factor, w, factor, c))
    return x.reshape(n, factor * h, factor * w, c)


def upsample_bilinear(x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Double height and width by linear interpolation, as torch's bilinear without align_corners.

    New pixels are 3/4 of the nearest one and 1/4 of the next; the edge is repeated.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        first, last = (lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, size - 1))
        before = jnp.concatenate([first, lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
        after = jnp.concatenate([lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
        both = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = both.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def pixel_unshuffle(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n h/f w/f c*f*f"]:
    """Move each factor x factor block of pixels into channels, in PyTorch's order c*f*f + y*f + x.

    Raises:
      ValueError: height or width is not a multiple of `factor`.
    """
    n, h, w, c = x.shape
    if h % factor or w % factor:
        raise ValueError(
            f"height and width (={h}, {w}) must be multiples of the unshuffle factor (={factor})."
        )
    x = x.reshape(n, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, h // factor, w // factor, c * factor * factor)


def pixel_shuffle(x: Float[Array, "n h w c*f*f"], factor: int) -> Float[Array, "n f*h f*w c"]:
    """Move channels into factor x factor blocks of pixels, in PyTorch's order c*f*f + y*f + x."""
    n, h, w, channels = x.shape
    c = channels // factor**2
    x = x.reshape(n, h, w, c, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, h * factor, w * factor, c)


class Conv(nn.Module):
    """PyTorch's Conv2d with zero padding 1 in NHWC: `weight` [k, k, in, out] and `bias` [out]."""

    features: int
    kernel_size: int = 3
    strides: int = 1
    use_bias: bool = True
    weight_init: Initializer = default_weight_init
    bias_init: Initializer | None = None  # None: PyTorch's default, which depends on fan_in
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 features"]:
        """Convolve; height and width become (size + 2 - kernel_size) // strides + 1."""
        k, channels = self.kernel_size, x.shape[-1]
        weight = self.param("weight", self.weight_init, (k, k, channels, self.features), self.param_dtype)
        bias = None
        if self.use_bias:
            bias_init = self.bias_init or uniform_bias_init(k * k * channels)
            bias = self.param("bias", bias_init, (self.features,), self.param_dtype)
        x, weight, bias = promote_dtype(x, weight, bias, dtype=self.dtype)
        y = conv(x, weight, self.strides)
        return y if bias is None else y + bias


class Linear(nn.Module):
    """PyTorch's Linear: `weight` [in, out] and `bias` [out]."""

    features: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n features"]:
        """Multiply by the weight and add the bias."""
        fan_in = x.shape[-1]
        weight = self.param("weight", default_weight_init, (fan_in, self.features), self.param_dtype)
        bias = self.param("bias", uniform_bias_init(fan_in), (self.features,), self.param_dtype)
        x, weight, bias = promote_dtype(x, weight, bias, dtype=self.dtype)
        return x @ weight + bias


class BatchNorm(nn.Module):
    """PyTorch's BatchNorm2d: normalises with the biased variance, keeps the unbiased one, eps 1e-5.

    In train mode the running statistics in `batch_stats` move once, where that collection is mutable.

    Attributes:
      axis_name: mapped axis over which the batch is spread (None: this device's share alone).
    """

    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n h w c"]:
        """Normalise with the batch's statistics (`train`) or the running ones."""
        shape = (x.shape[-1],)
        weight = self.param("weight", nn.initializers.ones, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shape, self.param_dtype)
        running = {
            "running_mean": self.variable("batch_stats", "running_mean", jnp.zeros, shape, self.param_dtype),
            "running_var": self.variable("batch_stats", "running_var", jnp.ones, shape, self.param_dtype),
            "num_batches_tracked": self.variable("batch_stats", "num_batches_tracked", jnp.zeros, (), int),
        }
        if train:
            mean, var, unbiased_var = self._batch_statistics(x)
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                for name, value in (("running_mean", mean), ("running_var", unbiased_var)):
                    running[name].value = (1 - MOMENTUM) * running[name].value + MOMENTUM * value
                running["num_batches_tracked"].value += 1
        else:
            mean, var = running["running_mean"].value, running["running_var"].value
        scale = weight * lax.rsqrt(var + 1e-5)
        x, mean, scale, bias = promote_dtype(x, mean, scale, bias, dtype=self.dtype)
        return (x - mean) * scale + bias

    def _batch_statistics(self, x):
        # Two passes: the mean of squares minus the squared mean loses half of float32's digits.
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        count = x.size // x.shape[-1]
        mean = jnp.mean(x, (0, 1, 2))
        if self.axis_name is not None and not self.is_initializing():
            count *= lax.axis_size(self.axis_name)
            mean = lax.pmean(mean, self.axis_name)
        var = jnp.mean(jnp.square(x - mean), (0, 1, 2))
        if self.axis_name is not None and not self.is_initializing():
            var = lax.pmean(var, self.axis_name)
        return mean, var, var * (count / max(count - 1, 1))
