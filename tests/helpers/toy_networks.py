"""A generator and a discriminator that the package does not know, and the one entry that each needs."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from esrgan_jax.models.layers import Conv, leaky_relu, masked, upsample_nearest
from esrgan_jax.weights.architectures import ARCHITECTURES, Architecture, official_dialect, register, size


class ToyNet(nn.Module):
    """Nearest enlarging plus two convolutions."""

    scale: int = 4
    num_feat: int = 6
    num_in_ch: int = 3
    num_out_ch: int = 3
    dtype: Any = None
    param_dtype: Any = jnp.float32
    unshuffle = 1
    receptive_radius = 2
    example_shape = (1, 4, 4, 3)

    def live_bytes(self, value_bytes):
        return 0, 2 * value_bytes * self.num_feat

    @nn.compact
    def __call__(self, x, mask=None):
        for _ in range({2: 1, 4: 2}[self.scale]):
            x, mask = upsample_nearest(x), None if mask is None else upsample_nearest(mask)
        x = masked(x, mask)
        y = leaky_relu(Conv(self.num_feat, dtype=self.dtype, param_dtype=self.param_dtype, name="stem")(x))
        return x + Conv(self.num_out_ch, dtype=self.dtype, param_dtype=self.param_dtype, name="tail")(
            masked(y, mask)
        )


class ToyDiscriminator(nn.Module):
    """One logit per pixel, of a spectrally normalised convolution; what it saw moves a mean and a counter."""

    num_in_ch: int = 3
    num_feat: int = 4
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    input_size = None
    example_shape = (1, 8, 8, 3)

    @nn.compact
    def __call__(self, x, train=True):
        conv = Conv(self.num_feat, param_dtype=self.param_dtype, name="conv")
        y = conv(x)
        u = self.variable("spectral", "u", lambda: jnp.ones(self.num_feat, self.param_dtype))
        mean = self.variable("seen", "mean", lambda: jnp.zeros(self.num_in_ch, self.param_dtype))
        count = self.variable("seen", "count", lambda: jnp.zeros((), int))
        weight = conv.variables["params"]["weight"].reshape(-1, self.num_feat)
        v = weight @ u.value
        moved = v @ weight
        moved = lax.stop_gradient(moved / jnp.linalg.norm(moved))
        logits = y / jnp.linalg.norm(weight @ moved) - mean.value.mean()
        if train and not self.is_initializing():
            now = x.mean((0, 1, 2))
            now = now if self.axis_name is None else lax.pmean(now, self.axis_name)
            for variable, value in ((u, moved), (mean, (mean.value + now) / 2), (count, count.value + 1)):
                if self.is_mutable_collection(variable.collection):
                    variable.value = value
        return Conv(1, param_dtype=self.param_dtype, name="out")(leaky_relu(logits))


GENERATOR = Architecture(
    name="ToyNet",
    role="generator",
    module=ToyNet,
    dialects=(official_dialect("toy", "stem", "tail"),),
    infer=lambda arrays, hints: ToyNet(hints.scale or 4, size(arrays, "stem.weight", 0, 6)),
    fields=("scale", "num_feat"),
)
DISCRIMINATOR = Architecture(
    name="ToyDiscriminator",
    role="discriminator",
    module=ToyDiscriminator,
    dialects=(official_dialect("toy", "conv", "out", "u", "mean", "count"),),
    infer=lambda arrays, hints: ToyDiscriminator(num_feat=size(arrays, "conv.weight", 0, 4)),
    fields=("num_feat",),
)


def register_toys():
    """Make both known, as a module of a user's own would when it is imported; a second time does nothing."""
    for entry in (GENERATOR, DISCRIMINATOR):
        if entry.name not in ARCHITECTURES:
            register(entry)
