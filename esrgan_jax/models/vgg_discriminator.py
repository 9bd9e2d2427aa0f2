"""The VGG-style discriminator (Wang et al. 2018, section 3.2; BasicSR's VGGStyleDiscriminator)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax.numpy as jnp

from esrgan_jax.models.layers import BatchNorm, Conv, Linear, accumulation_dtype, leaky_relu
from esrgan_jax.models.network import check_positive

if TYPE_CHECKING:
    from jaxtyping import Array, Float

HALVINGS = {128: 5, 256: 6}
"""Input size -> halvings: both end in 4 x 4 pixels."""


class VGGStyleDiscriminator(nn.Module):
    """One logit per picture: how much it looks like a real one.

    Attributes:
      num_feat: channels of the first stage; the deeper ones have 2, 4, 8, 8(, 8) times as many.
      input_size: 128 or 256, the only picture size it takes.
      axis_name: mapped axis over which a batch is spread; its batch-norm statistics are the whole batch's.
      dtype: of the computation (statistics and the last two layers at least in float32).
    """

    num_in_ch: int = 3
    num_feat: int = 64
    input_size: int = 128
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of one picture."""
        return (1, self.input_size, self.input_size, self.num_in_ch)

    @nn.compact
    def __call__(self, x: Float[Array, "n s s in"], train: bool = True) -> Float[Array, "n 1"]:
        """Return logits of pictures, RGB in [0, 1]; in train mode batch norm uses the batch's own statistics.

        Raises:
          ValueError: the pictures are not `input_size` x `input_size`, or that is neither 128 nor 256.
        """
        if self.input_size not in HALVINGS:
            raise ValueError(f"`input_size` (={self.input_size}) must be 128 or 256.")
        check_positive(self, "num_feat", "num_in_ch")
        if x.shape[1:] != (self.input_size, self.input_size, self.num_in_ch):
            expected = f"{self.input_size} x {self.input_size} x {self.num_in_ch}"
            raise ValueError(f"the pictures are {' x '.join(map(str, x.shape[1:]))}, {expected} expected.")
        for i in range(HALVINGS[self.input_size]):
            features = self.num_feat * min(2**i, 8)
            x = self._conv(f"conv{i}_0", features, kernel_size=3, strides=1, use_bias=i == 0)(x)
            x = leaky_relu(self._norm(f"bn{i}_0")(x, train) if i else x)
            x = self._conv(f"conv{i}_1", features, kernel_size=4, strides=2, use_bias=False)(x)
            x = leaky_relu(self._norm(f"bn{i}_1")(x, train))
        # PyTorch flattens channels first; the converter permutes linear1's rows instead.
        x = x.reshape(x.shape[0], -1)
        x = leaky_relu(self._linear("linear1", 100)(x))
        return self._linear("linear2", 1)(x)

    def _conv(self, name, features, **options):
        return Conv(features, dtype=self.dtype, param_dtype=self.param_dtype, name=name, **options)

    def _norm(self, name):
        return BatchNorm(self.axis_name, self.dtype, self.param_dtype, name=name)

    def _linear(self, name, features):
        return Linear(features, accumulation_dtype(self.dtype), self.param_dtype, name=name)
