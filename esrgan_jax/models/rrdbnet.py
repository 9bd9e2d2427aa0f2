"""RRDBNet, ESRGAN's generator (Wang et al. 2018, arXiv:1809.00219, section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax.ad_checkpoint import checkpoint_name

from esrgan_jax.models.initialization import (
    COLOUR_TAPS,
    COLOURS,
    INITIALIZATIONS,
    colour_init,
    dense_weight_init,
)
from esrgan_jax.models.layers import (
    Conv,
    accumulation_dtype,
    default_weight_init,
    leaky_relu,
    masked,
    pixel_unshuffle,
    to_compute_dtype,
    upsample_nearest,
)
from esrgan_jax.models.network import check_positive

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

UNSHUFFLE_FACTORS = {4: 1, 2: 2, 1: 4}
"""Scale -> factor of the pixel unshuffle in front: the network itself always enlarges four times."""

SCALES = {0: (1,), 1: (2, 3), 2: tuple(UNSHUFFLE_FACTORS), 3: (8,)}
"""num_upsample -> scales; all but the usual 2 do without an unshuffle."""

SAVED_FOR_BACKWARD = "conv_output"
"""What `remat` keeps of a block for the backward pass: the results of its convolutions."""


class Conv1x1(nn.Module):
    """PyTorch's Conv2d of kernel size 1 without bias: `weight` [1, 1, in, out]."""

    features: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n h w features"]:
        """Mix channels."""
        shape = (1, 1, x.shape[-1], self.features)
        weight = self.param("weight", default_weight_init, shape, self.param_dtype)
        x, weight = promote_dtype(x, weight, dtype=self.dtype)
        return x @ weight[0, 0]


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each fed with everything before it; the result is added to the input x 0.2.

    Attributes:
      with_conv1x1: ESRGAN+ (Rakotonirina & Rasoanaivo 2020): the second convolution's output gains a 1x1
        convolution of the input, and the fourth's gains the second's.
    """

    num_feat: int = 64
    num_grow_ch: int = 32
    dtype: Any = None
    param_dtype: Any = jnp.float32
    with_conv1x1: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w f"], mask: Bool[Array, "n h w 1"] | None = None
    ) -> Float[Array, "n h w f"]:
        """Keep the shape; where `mask` is False, zeros come out if zeros went in."""
        features = to_compute_dtype(x, self.dtype)
        for k in range(1, 5):
            grown = leaky_relu(checkpoint_name(self._conv(k, self.num_grow_ch)(features), SAVED_FOR_BACKWARD))
            if self.with_conv1x1 and k == 2:
                conv1x1 = Conv1x1(self.num_grow_ch, self.dtype, self.param_dtype, name="conv1x1")
                grown = second = grown + conv1x1(x)
            elif self.with_conv1x1 and k == 4:
                grown = grown + second
            features = jnp.concatenate([features, masked(grown, mask)], axis=-1)
        return masked(
            checkpoint_name(self._conv(5, self.num_feat)(features), SAVED_FOR_BACKWARD) * 0.2 + x, mask
        )

    def _conv(self, k, features):
        return Conv(
            features,
            weight_init=dense_weight_init,
            bias_init=nn.initializers.zeros,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name=f"conv{k}",
        )


class RRDB(nn.Module):
    """Residual in residual: three dense blocks, added to the input x 0.2."""

    num_feat: int = 64
    num_grow_ch: int = 32
    dtype: Any = None
    param_dtype: Any = jnp.float32
    with_conv1x1: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w f"], mask: Bool[Array, "n h w 1"] | None = None
    ) -> Float[Array, "n h w f"]:
        """Keep the shape; where `mask` is False, zeros come out if zeros went in."""
        y = x
        for j in range(1, 4):
            y = ResidualDenseBlock(
                self.num_feat,
                self.num_grow_ch,
                self.dtype,
                self.param_dtype,
                self.with_conv1x1,
                name=f"rdb{j}",
            )(y, mask)
        return y * 0.2 + x


class RRDBNet(nn.Module):
    """The generator: small picture in, `scale` times larger picture out, both RGB in [0, 1] (not clipped).

    The blocks of the trunk are one scanned module: its parameters `body/rdb{j}/conv{k}` carry a leading axis
    of `num_block`. All other parameters have the official names and shapes (HWIO).

    Attributes:
      scale: 4, 2 or 1; for 2 and 1 the input is pixel-unshuffled first, so its height and width must be
        multiples of `unshuffle`, 2 or 4. With another `num_upsample` there is no unshuffle.
      num_feat, num_block, num_grow_ch: width, depth and growth of the trunk (official: 64, 23, 32).
      num_upsample: how often the network enlarges: 2 in the paper and its trainers; older community files
        have 0 (scale 1), 1 (scale 2, or scale 3, which is one step too) or 3 (scale 8).
      conv1x1: ESRGAN+, see ResidualDenseBlock.
      initialization: "basicsr" scales the dense blocks' convolutions by 0.1 and leaves PyTorch's default to the
        rest; "mmagic" scales every convolution; "interpolation" starts as nearest enlarging (scales 2 and 1: of the
        mean of each unshuffled block), "spline" as interpolation by quadratic splines, about as good as bicubic;
        all that does not carry the colours is random.
      remat: recompute what lies between the convolutions of a block in the backward pass, not these themselves:
        0.4 of the memory (batch 4: 314 instead of 831 MB) and no slower on two CPU cores (2.60 instead of 2.73 s); on
        an H100 1.7 times slower.
      dtype: of the computation (the last convolution at least in float32); None: of inputs and parameters.
    """

    scale: int = 4
    num_feat: int = 64
    num_block: int = 23
    num_grow_ch: int = 32
    num_in_ch: int = 3
    num_out_ch: int = 3
    remat: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    num_upsample: int = 2
    conv1x1: bool = False
    initialization: str = "basicsr"

    inference_fields: ClassVar = {"remat": False}
    head_radius: ClassVar = 2

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of the smallest input: each scale has an unshuffle factor of its own, and 4 is a multiple of all."""
        return (1, 4, 4, self.num_in_ch)

    @property
    def unshuffle(self) -> int:
        """The factor of the pixel unshuffle in front; height and width must be multiples of it."""
        return UNSHUFFLE_FACTORS[self.scale] if self.num_upsample == 2 else 1

    @property
    def receptive_radius(self) -> int:
        """How far the network sees, in pixels of its trunk (`unshuffle` pixels of the input each)."""
        # 15 convolutions a block, conv_first and conv_body; those behind the trunk see at most 2 more.
        return 15 * self.num_block + 4

    def live_bytes(self, value_bytes: int) -> tuple[int, int]:
        """See `network.Generator`."""
        # Features in float32 (three live at once) and a dense block's inputs, twice while one is extended.
        trunk = 3 * 4 * self.num_feat + 2 * value_bytes * (self.num_feat + 4 * self.num_grow_ch)
        return trunk, 3 * value_bytes * self.num_feat

    def setup(self):
        """Name the layers as the official trainer does."""
        check_positive(self, "num_feat", "num_block", "num_grow_ch", "num_in_ch", "num_out_ch")
        if self.initialization not in INITIALIZATIONS:
            raise ValueError(
                f"`initialization` (={self.initialization}) must be one of {', '.join(INITIALIZATIONS)}."
            )
        channels = (self.num_in_ch, self.num_out_ch)
        if self.initialization in COLOUR_TAPS and (channels != (COLOURS, COLOURS) or self.num_feat < COLOURS):
            raise ValueError(
                f"`initialization` (={self.initialization}) needs num_in_ch=3, num_out_ch=3 and num_feat of 3 or "
                f"more; they are {self.num_in_ch}, {self.num_out_ch} and {self.num_feat}."
            )
        scales = SCALES.get(self.num_upsample)
        if scales is None:
            raise ValueError(f"`num_upsample` (={self.num_upsample}) must be 0, 1, 2 or 3.")
        if self.scale not in scales:
            raise ValueError(f"`scale` (={self.scale}) must be {' or '.join(map(str, scales))}.")
        block_pixels = self.unshuffle**2
        self.conv_first = self._conv("conv_first", self.num_feat, self.num_in_ch * block_pixels, block_pixels)
        block = RRDB
        if self.remat:
            keep = jax.checkpoint_policies.save_only_these_names(SAVED_FOR_BACKWARD)
            block = nn.remat(RRDB, prevent_cse=False, policy=keep)
        self.body = block(self.num_feat, self.num_grow_ch, self.dtype, self.param_dtype, self.conv1x1)
        self.conv_body = self._conv("conv_body", self.num_feat)
        for i in range(1, self.num_upsample + 1):
            setattr(self, f"conv_up{i}", self._conv("conv_up", self.num_feat))
        self.conv_hr = self._conv("conv_hr", self.num_feat)
        self.conv_last = self._conv("conv_last", self.num_out_ch, dtype=accumulation_dtype(self.dtype))

    def __call__(
        self, x: Float[Array, "n h w in"], mask: Bool[Array, "n h/u w/u 1"] | None = None
    ) -> Float[Array, "n scale*h scale*w out"]:
        """Enlarge a batch of pictures.

        Args:
          x: height and width are multiples of u = `unshuffle`.
          mask: True inside the picture, in pixels of the trunk, where the array is larger than the picture. Then
            everything outside is zero in front of every convolution, as if the picture ended there: inside, the
            result is that of the picture alone. Outside it has no meaning.

        Raises:
          ValueError: a scale that does not go with `num_upsample` (the usual 2: 4, 2 or 1); another number of
            channels than `num_in_ch`; a size that is no multiple of the unshuffle factor.
        """
        return self.reconstruct(self.extract(x, mask), mask)

    def extract(
        self, x: Float[Array, "n h w in"], mask: Bool[Array, "n h/u w/u 1"] | None = None
    ) -> Float[Array, "n h/u w/u f"]:
        """Return the features behind the trunk, of its size: the first part of the network. See `__call__`."""
        if x.shape[-1] != self.num_in_ch:
            raise ValueError(
                f"the input has {x.shape[-1]} channels, `num_in_ch` (={self.num_in_ch}) expected."
            )
        x = masked(pixel_unshuffle(x, self.unshuffle), mask)
        # The sums of the trunk stay in float32: 69 small additions in bfloat16 would round most of them away.
        x = masked(to_compute_dtype(self.conv_first(x), accumulation_dtype(self.dtype)), mask)
        return masked(to_compute_dtype(x + self.conv_body(self._trunk(x, mask)), self.dtype), mask)

    def reconstruct(
        self, x: Float[Array, "n h/u w/u f"], mask: Bool[Array, "n h/u w/u 1"] | None = None
    ) -> Float[Array, "n scale*h scale*w out"]:
        """Enlarge features, the rest of the network, which sees `head_radius` pixels far. See `__call__`."""
        for i in range(1, self.num_upsample + 1):
            mask = None if mask is None else self._enlarge(mask)
            x = masked(leaky_relu(getattr(self, f"conv_up{i}")(self._enlarge(x))), mask)
        x = masked(leaky_relu(self.conv_hr(x)), mask)
        return self.conv_last(x)

    def _enlarge(self, x):
        return x.repeat(3, axis=1).repeat(3, axis=2) if self.scale == 3 else upsample_nearest(x)

    def _trunk(self, x, mask):
        scan = nn.scan(
            lambda block, x, mask: (block(x, mask), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.num_block,
        )
        return scan(self.body, x, mask)[0]

    def _conv(self, layer, features, inputs=None, inputs_per_colour=1, dtype=None):
        init = {}
        if self.initialization == "mmagic":
            init = {"weight_init": dense_weight_init, "bias_init": nn.initializers.zeros}
        elif self.initialization in COLOUR_TAPS:
            taps = COLOUR_TAPS[self.initialization][layer]
            init = colour_init(taps, inputs or self.num_feat, inputs_per_colour)
        return Conv(features, dtype=dtype or self.dtype, param_dtype=self.param_dtype, **init)
