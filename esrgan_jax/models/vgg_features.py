"""VGG feature maps for the perceptual loss (Simonyan & Zisserman 2014, torchvision's layer order)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from esrgan_jax.models.layers import Conv, max_pool, relu

if TYPE_CHECKING:
    from jaxtyping import Array, Float

CONVS_PER_STAGE = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def layer_names(vgg_type: str) -> list[str]:
    """The layers of torchvision's `features` in their order: conv1_1, relu1_1, ..., pool1, conv2_1, ...

    Raises:
      ValueError: another type than vgg11, vgg13, vgg16, vgg19.
    """
    if vgg_type not in CONVS_PER_STAGE:
        raise ValueError(f"`vgg_type` (={vgg_type!r}) must be one of {', '.join(CONVS_PER_STAGE)}.")
    names = []
    for stage, convs in enumerate(CONVS_PER_STAGE[vgg_type], 1):
        for conv in range(1, convs + 1):
            names += [f"conv{stage}_{conv}", f"relu{stage}_{conv}"]
        names.append(f"pool{stage}")
    return names


class _Features(nn.Module):
    """The stack itself; its convolutions carry torchvision's indices as names."""

    vgg_type: str
    layers: Sequence[str]
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x):
        names = layer_names(self.vgg_type)
        unknown = [layer for layer in self.layers if layer not in names]
        if unknown or not self.layers:
            raise ValueError(
                f"`layers` (={tuple(self.layers)}) must be some of {self.vgg_type}'s {', '.join(names)}."
            )
        wanted = {}
        for index, name in enumerate(names[: 1 + max(map(names.index, self.layers))]):
            if name.startswith("conv"):
                width = WIDTHS[int(name[4]) - 1]
                x = Conv(width, dtype=self.dtype, param_dtype=self.param_dtype, name=str(index))(x)
            elif name.startswith("relu"):
                x = relu(x)
            else:
                x = max_pool(x)
            if name in self.layers:
                wanted[name] = x
        return wanted


class VGGFeatureExtractor(nn.Module):
    """Feature maps of chosen VGG layers; nothing deeper than the deepest of them is computed or has weights.

    Attributes:
      vgg_type: vgg11, vgg13, vgg16 or vgg19.
      layers: `convX_Y` (before ReLU), `reluX_Y` (after), `poolX`.
      use_input_norm: subtract ImageNet's mean and divide by its standard deviation.
      range_norm: the input is in [-1, 1] rather than [0, 1].
    """

    vgg_type: str = "vgg19"
    layers: Sequence[str] = ("conv5_4",)
    use_input_norm: bool = True
    range_norm: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32
    example_shape: ClassVar = (1, 32, 32, 3)  # five poolings leave one of 32 pixels

    @nn.compact
    def __call__(self, x: Float[Array, "n h w 3"]) -> dict[str, Float[Array, "n h2 w2 c"]]:
        """Return of RGB pictures {layer: features}.

        Raises:
          ValueError: an unknown type or layer.
        """
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - jnp.asarray(IMAGENET_MEAN, x.dtype)) / jnp.asarray(IMAGENET_STD, x.dtype)
        return _Features(self.vgg_type, self.layers, self.dtype, self.param_dtype, name="features")(x)
