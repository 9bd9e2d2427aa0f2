"""How RRDBNet's convolutions start: as in the published trainers, or as an enlargement of the picture."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from esrgan_jax.models.layers import Initializer, default_weight_init, uniform_bias_init

KEEP = (0.0, 1.0, 0.0)
NOTHING = (0.0, 0.0, 0.0)

COLOUR_TAPS = {
    "interpolation": {
        "conv_first": KEEP,
        "conv_body": NOTHING,
        "conv_up": KEEP,
        "conv_hr": KEEP,
        "conv_last": KEEP,
    },
    # Enlarging by repeating pixels, then (1, 2, 1) / 4, is one step of subdividing quadratic B-splines. The filter
    # that makes them interpolate has no end (1.414 in its centre, then -0.243): this is three taps of it, of sum 1.
    "spline": {
        "conv_first": (-0.2, 1.4, -0.2),
        "conv_body": NOTHING,
        "conv_up": (0.25, 0.5, 0.25),
        "conv_hr": KEEP,
        "conv_last": KEEP,
    },
}
"""What each 3x3 convolution does to the colours, along rows and columns, by initialization."""

INITIALIZATIONS = ("basicsr", "mmagic", *COLOUR_TAPS)

COLOURS = 3

# BasicSR: kaiming normal x 0.1, that is std = 0.1 * sqrt(2 / fan_in), and no bias.
dense_weight_init = nn.initializers.variance_scaling(0.1**2 * 2, "fan_in", "normal")


def colour_init(taps: tuple[float, ...], inputs: int, inputs_per_colour: int = 1) -> dict[str, Initializer]:
    """Return initializers of a 3x3 convolution whose first three outputs are R, G, B of its input, filtered.

    Everything else is random, by PyTorch's default. Measured with configs/quickstart.py: docs/recipes.md.

    Args:
      taps: three weights of the filter, along rows and columns alike.
      inputs: channels.
      inputs_per_colour: how many of them each colour has, the first colour first; their mean is taken.
    """

    def weight_init(key, shape, dtype):
        weight = default_weight_init(key, shape, dtype).at[..., :COLOURS].set(0)
        kernel = jnp.outer(jnp.array(taps, dtype), jnp.array(taps, dtype))[:, :, None] / inputs_per_colour
        for colour in range(COLOURS):
            channels = slice(colour * inputs_per_colour, (colour + 1) * inputs_per_colour)
            weight = weight.at[:, :, channels, colour].set(kernel)
        return weight

    def bias_init(key, shape, dtype):
        return uniform_bias_init(9 * inputs)(key, shape, dtype).at[:COLOURS].set(0)

    return {"weight_init": weight_init, "bias_init": bias_init}
