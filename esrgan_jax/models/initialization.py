"""How RRDBNet's convolutions start: as in the published trainers, or as an enlargement of the picture."""

from __future__ import annotations

import flax.linen as nn

from esrgan_jax.models.layers import Initializer, default_weight_init, uniform_bias_init

INITIALIZATIONS = ("basicsr", "mmagic", "interpolation")

COLOURS = 3

# BasicSR: kaiming normal x 0.1, that is std = 0.1 * sqrt(2 / fan_in), and no bias.
dense_weight_init = nn.initializers.variance_scaling(0.1**2 * 2, "fan_in", "normal")


def colour_init(gain: float, inputs: int, inputs_per_colour: int = 1) -> dict[str, Initializer]:
    """Return initializers of a 3x3 convolution whose first three outputs are `gain` x R, G, B of its input.

    Everything else is random, by PyTorch's default. Measured with configs/quickstart.py: docs/recipes.md.

    Args:
      gain: 1 passes colours on, 0 adds none.
      inputs: channels.
      inputs_per_colour: how many of them each colour has, the first colour first; their mean is taken.
    """

    def weight_init(key, shape, dtype):
        weight = default_weight_init(key, shape, dtype).at[..., :COLOURS].set(0)
        for colour in range(COLOURS):
            channels = slice(colour * inputs_per_colour, (colour + 1) * inputs_per_colour)
            weight = weight.at[1, 1, channels, colour].set(gain / inputs_per_colour)
        return weight

    def bias_init(key, shape, dtype):
        return uniform_bias_init(9 * inputs)(key, shape, dtype).at[:COLOURS].set(0)

    return {"weight_init": weight_init, "bias_init": bias_init}
