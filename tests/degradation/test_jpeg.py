"""JPEG against block transforms of scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.degradation import compressed

from esrgan_jax.degradation.jpeg import jpeg

JPEG = jax.jit(jpeg)
PICTURE = np.random.default_rng(11).random((45, 38, 3))
# Smooth, as photos are: white noise would leave colours far outside, where everything is clipped.
PICTURE = 0.5 + np.cumsum(np.cumsum(PICTURE - 0.5, 0), 1) / 40


@pytest.mark.parametrize("quality", [12.5, 30, 49.99, 50, 71.3, 95])
def test_against_block_transforms(quality):
    expected = compressed(PICTURE, quality)
    assert np.abs(expected - np.clip(PICTURE, 0, 1)).max() > 0.01
    with jax.enable_x64(True):
        np.testing.assert_allclose(JPEG(jnp.asarray(PICTURE), quality), expected, rtol=0, atol=1e-11)
    found = np.abs(JPEG(jnp.asarray(PICTURE, jnp.float32), quality) - expected)
    assert (found > 1e-5).mean() < 2e-3  # a tie may be rounded the other way, which moves its whole block


def test_live_size():
    for size in ((45, 38), (16, 32), (17, 9)):
        rubbish = np.full(PICTURE.shape, 7, np.float32)
        rubbish[: size[0], : size[1]] = PICTURE[: size[0], : size[1]]
        found = np.asarray(JPEG(rubbish, 42.0, size))
        expected = compressed(PICTURE[: size[0], : size[1]], 42.0)
        assert (np.abs(found[: size[0], : size[1]] - expected) > 1e-5).mean() < 2e-3
        assert not found[size[0] :].any()
        assert not found[:, size[1] :].any()


def test_the_table_of_luma_is_transposed():
    """At quality 50 the highest horizontal frequency has steps of 72, the highest vertical one of 61."""
    wave = np.cos((2 * np.arange(8) + 1) * 7 * np.pi / 16) * 0.5
    for axis, step in ((1, 72), (0, 61)):
        picture = np.broadcast_to(np.expand_dims(wave, 1 - axis), (8, 8)) * np.sqrt(1 / 8)
        coefficient = 1.4 * step
        grey = np.tile(((coefficient * picture + 128) / 255)[..., None], (2, 2, 3))
        found = JPEG(jnp.asarray(grey, jnp.float32), 50.0)
        np.testing.assert_allclose(found, (step / coefficient) * (grey - 128 / 255) + 128 / 255, atol=1e-5)


def test_black_fills_the_last_blocks():
    grey = jnp.full((20, 16, 3), 0.5)
    found = np.asarray(JPEG(grey, 50.0))
    np.testing.assert_allclose(found[:16], found[0, 0, 0])
    assert np.ptp(found[16:]) > 0.01
