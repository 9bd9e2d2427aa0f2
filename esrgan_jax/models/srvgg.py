"""SRVGGNetCompact, Real-ESRGAN's small generator: all work at the size of the input (Wang et al. 2021, BasicSR)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from esrgan_jax.models.layers import (
    Conv,
    accumulation_dtype,
    masked,
    pixel_shuffle,
    relu,
    to_compute_dtype,
    upsample_nearest,
)
from esrgan_jax.models.network import check_positive

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

ACTIVATIONS = ("prelu", "relu", "leakyrelu")


class PReLU(nn.Module):
    """PyTorch's PReLU with a slope per channel: `weight` [c], 0.25 at first."""

    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Multiply what is not positive by its channel's slope."""
        weight = self.param("weight", nn.initializers.constant(0.25), (x.shape[-1],), self.param_dtype)
        x, weight = promote_dtype(x, weight, dtype=self.dtype)
        return jnp.where(x > 0, x, weight * x)


class _Body(nn.Module):
    """The stack itself; layers carry their indices as names, activations without slopes included in the count."""

    num_feat: int
    num_conv: int
    outputs: int
    act_type: str
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x, mask):
        for index in range(0, 2 * self.num_conv + 2, 2):
            x = self._conv(index, self.num_feat, self.dtype)(masked(x, mask))
            if self.act_type == "prelu":
                x = PReLU(self.dtype, self.param_dtype, name=str(index + 1))(x)
            else:
                x = relu(x) if self.act_type == "relu" else jnp.where(x > 0, x, 0.1 * x)
        last = self._conv(2 * self.num_conv + 2, self.outputs, accumulation_dtype(self.dtype))
        return last(masked(x, mask))

    def _conv(self, index, features, dtype):
        return Conv(features, dtype=dtype, param_dtype=self.param_dtype, name=str(index))


class SRVGGNetCompact(nn.Module):
    """The generator: small picture in, `scale` times larger picture out, both RGB in [0, 1] (not clipped).

    A plain stack of convolutions makes what is added to the input, enlarged by repeating pixels. Parameters have the
    official names and shapes (HWIO): `body/{2i}` is a convolution, `body/{2i + 1}` its activation.

    Attributes:
      scale: any whole number; BasicSR calls it `upscale`.
      num_feat, num_conv: channels, and convolutions between the first and the last one (official: 64; 16 or 32).
      act_type: "prelu", "relu" or "leakyrelu" (slope 0.1).
      dtype: of the computation (the last convolution at least in float32); None: of inputs and parameters.
    """

    scale: int = 4
    num_feat: int = 64
    num_conv: int = 16
    num_in_ch: int = 3
    num_out_ch: int = 3
    act_type: str = "prelu"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    unshuffle: ClassVar = 1

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of a small picture."""
        return (1, 4, 4, self.num_in_ch)

    @property
    def receptive_radius(self) -> int:
        """One pixel for each convolution."""
        return self.num_conv + 2

    def live_bytes(self, value_bytes: int) -> tuple[int, int]:
        """See `network.Generator`."""
        # Input and output of a convolution, one of them again with zeros around; the last one's output in float32.
        return 3 * value_bytes * self.num_feat, 2 * 4 * self.num_out_ch

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w in"], mask: Bool[Array, "n h w 1"] | None = None
    ) -> Float[Array, "n scale*h scale*w out"]:
        """Enlarge a batch of pictures.

        Args:
          x: pictures of any size.
          mask: True inside the picture, where the array is larger than the picture: see `RRDBNet`.

        Raises:
          ValueError: a field cannot be used; another number of channels than `num_in_ch`.
        """
        check_positive(self, "scale", "num_feat", "num_conv", "num_in_ch", "num_out_ch")
        if self.act_type not in ACTIVATIONS:
            raise ValueError(f"`act_type` (={self.act_type}) must be one of {', '.join(ACTIVATIONS)}.")
        if self.num_in_ch not in (1, self.num_out_ch):
            raise ValueError(
                f"`num_in_ch` (={self.num_in_ch}) must be 1 or `num_out_ch` (={self.num_out_ch}): the input is added "
                "to the output."
            )
        if x.shape[-1] != self.num_in_ch:
            raise ValueError(
                f"the input has {x.shape[-1]} channels, `num_in_ch` (={self.num_in_ch}) expected."
            )
        outputs = self.num_out_ch * self.scale**2
        body = _Body(
            self.num_feat, self.num_conv, outputs, self.act_type, self.dtype, self.param_dtype, name="body"
        )
        residual = body(to_compute_dtype(x, self.dtype), mask)
        return pixel_shuffle(residual, self.scale) + upsample_nearest(x, self.scale)
