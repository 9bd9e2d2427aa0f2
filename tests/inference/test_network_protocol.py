"""The upscaler takes any generator with the protocol's required fields and `__call__(x, mask)`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.untiled import untiled

from esrgan_jax.inference import Upscaler
from esrgan_jax.inference.tile_network import head_radius
from esrgan_jax.inference.tile_sizes import tile_bytes
from esrgan_jax.models import RRDBNet


class Nearest(nn.Module):
    """Nearest enlarging plus two convolutions."""

    scale: int = 3
    num_in_ch: int = 3
    num_out_ch: int = 3
    dtype: Any = None

    unshuffle = 1
    receptive_radius = 1  # two convolutions behind the enlarging see two of three pixels
    example_shape = (1, 4, 4, 3)

    def live_bytes(self, value_bytes):
        return 12, 8 * value_bytes

    @nn.compact
    def __call__(self, x, mask=None):
        x = x.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        for name, features in (("first", 8), ("last", self.num_out_ch)):
            if mask is not None:
                x = jnp.where(mask.repeat(self.scale, axis=1).repeat(self.scale, axis=2), x, 0)
            x = nn.Conv(features, (3, 3), dtype=self.dtype, name=name)(x)
        return x


@pytest.fixture(scope="module")
def nearest():
    module = Nearest()
    return module, module.init(jax.random.key(0), jnp.zeros(module.example_shape))["params"]


@pytest.mark.parametrize("size", [(1, 1), (70, 150)])
def test_a_network_that_runs_whole(nearest, size):
    module, params = nearest
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    upscaler = Upscaler(module, params, tile=64, overlap="exact")
    assert head_radius(module) is None
    assert upscaler.tile_count(*size) == (1 if size == (1, 1) else 6)
    np.testing.assert_allclose(upscaler(image), untiled(module, params, image), rtol=0, atol=1e-6)


def test_half_precision_and_memory_of_a_network_that_runs_whole(nearest):
    module, params = nearest
    image = np.random.default_rng(0).random((10, 20, 3), np.float32)
    difference = Upscaler(module, params, dtype="bfloat16")(image) - untiled(module, params, image)
    assert 0 < np.abs(difference).max() < 0.05
    # 12 bytes per input pixel and 32 per output pixel of a tile, and its result twice.
    assert tile_bytes(module, 64, 4) == 64 * 64 * (12 + 9 * (32 + 2 * 4 * 3))


@pytest.mark.parametrize(
    ("fields", "tile", "value_bytes", "expected"),
    [
        ({}, 64, 4, 61_341_696),
        ({}, 128, 2, 84_934_656),
        ({}, 4096, 4, 48_519_708_672),
        ({"scale": 1}, 128, 4, 150_994_944),
        ({"scale": 2, "num_upsample": 1}, 128, 4, 66_060_288),
        ({"scale": 8, "num_upsample": 3}, 64, 2, 113_246_208),
        ({"num_feat": 16, "num_grow_ch": 8, "num_out_ch": 1}, 4096, 2, 9_017_753_600),
    ],
)
def test_memory_of_rrdbnet(fields, tile, value_bytes, expected):
    """The estimates from before networks said themselves what they need: tiles are chosen by them."""
    assert tile_bytes(RRDBNet(**fields), tile, value_bytes) == expected


class Wider(RRDBNet):
    head_radius = 5


class Narrower(RRDBNet):
    head_radius = 1


def test_bands_share_what_the_head_sees():
    fields = {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}
    image = np.random.default_rng(0).random((128, 30, 3), np.float32)
    params = RRDBNet(**fields).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    right, wide, narrow = (
        Upscaler(network(**fields), params, tile=128)(image) for network in (RRDBNet, Wider, Narrower)
    )
    np.testing.assert_allclose(wide, right, rtol=0, atol=1e-6)
    assert np.abs(narrow - right).max() > 1e-3
