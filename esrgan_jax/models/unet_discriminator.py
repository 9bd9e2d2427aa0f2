"""UNetDiscriminatorSN, Real-ESRGAN's discriminator (Wang et al. 2021, arXiv:2107.10833, section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from esrgan_jax.models.layers import Conv, accumulation_dtype, leaky_relu, upsample_bilinear
from esrgan_jax.models.network import check_positive
from esrgan_jax.models.spectral_norm import SpectralConv

if TYPE_CHECKING:
    from jaxtyping import Array, Float

MULTIPLE = 8
"""What height and width must be a multiple of: they are halved three times, and doubled again."""


class UNetDiscriminatorSN(nn.Module):
    """One logit per pixel: how much the picture looks like a real one there.

    Its state are the vectors of spectral normalisation, see `SpectralConv`.

    Attributes:
      num_feat: channels at full size; 2, 4, 8 times as many at 1/2, 1/4, 1/8 of it.
      skip_connection: add the features of the way down to those of the same size on the way up.
      dtype: of the computation (singular values and the last convolution at least in float32).
    """

    num_in_ch: int = 3
    num_feat: int = 64
    skip_connection: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32

    input_size: ClassVar = None

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of the smallest picture."""
        return (1, MULTIPLE, MULTIPLE, self.num_in_ch)

    @nn.compact
    def __call__(self, x: Float[Array, "n h w in"], train: bool = True) -> Float[Array, "n h w 1"]:
        """Return logits of pictures, RGB in [0, 1]; in train mode the state moves first.

        Raises:
          ValueError: height or width is no multiple of 8; another number of channels than `num_in_ch`.
        """
        check_positive(self, "num_feat", "num_in_ch")
        _, h, w, channels = x.shape
        if channels != self.num_in_ch:
            raise ValueError(
                f"the pictures have {channels} channels, `num_in_ch` (={self.num_in_ch}) expected."
            )
        if h % MULTIPLE or w % MULTIPLE:
            raise ValueError(f"height and width of the pictures (={h}, {w}) must be multiples of {MULTIPLE}.")
        skips = [leaky_relu(self._conv("conv0", self.num_feat, self.dtype)(x))]
        for i in (1, 2, 3):
            y = self._spectral(f"conv{i}", 2**i, kernel_size=4, strides=2)(skips[-1], train)
            skips.append(leaky_relu(y))
        x = skips.pop()
        for i in (4, 5, 6):
            x = leaky_relu(self._spectral(f"conv{i}", 2 ** (6 - i))(upsample_bilinear(x), train))
            if self.skip_connection:
                x = x + skips.pop()
        for i in (7, 8):
            x = leaky_relu(self._spectral(f"conv{i}", 1)(x, train))
        return self._conv("conv9", 1, accumulation_dtype(self.dtype))(x)

    def _conv(self, name, features, dtype):
        return Conv(features, dtype=dtype, param_dtype=self.param_dtype, name=name)

    def _spectral(self, name, width, **options):
        features = width * self.num_feat
        return SpectralConv(features, dtype=self.dtype, param_dtype=self.param_dtype, name=name, **options)
