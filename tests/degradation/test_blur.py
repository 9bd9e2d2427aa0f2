"""Blur and sharpening against scipy's correlation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.degradation import correlate, sharpened

from esrgan_jax.degradation.blur import blur
from esrgan_jax.degradation.usm import gaussian_row, sharpen

RNG = np.random.default_rng(3)
BLUR, SHARPEN = jax.jit(blur), jax.jit(sharpen)
PICTURE = RNG.random((47, 66, 3))
KERNEL = RNG.normal(size=(21, 21)) / 20  # of no symmetry: correlation and convolution differ


@pytest.mark.parametrize(("kernel", "shape"), [(KERNEL, (47, 66)), (KERNEL[4:9, 2:7], (12, 31))])
def test_blur(kernel, shape):
    x = PICTURE[: shape[0], : shape[1]]
    expected = correlate(x, kernel)
    found = BLUR(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(BLUR(jnp.asarray(x), jnp.asarray(kernel)), expected, rtol=0, atol=1e-13)


def test_live_size():
    """What lies beyond the picture changes nothing in it."""
    for size in ((11, 66), (30, 25), (47, 66)):
        rubbish = np.where(np.arange(47)[:, None, None] < size[0], PICTURE, 1e4)
        rubbish = np.where(np.arange(66)[:, None] < size[1], rubbish, -1e4).astype(np.float32)
        found = BLUR(rubbish, KERNEL.astype(np.float32), size)[: size[0], : size[1]]
        expected = correlate(PICTURE[: size[0], : size[1]], KERNEL)
        np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6)


def test_sharpen():
    # Steps of a quarter: no pixel lies so near the threshold that rounding decides.
    x = np.round(PICTURE * 4) / 4
    expected = sharpened(x)
    assert np.abs(expected - x).max() > 0.1
    np.testing.assert_allclose(SHARPEN(jnp.asarray(x, jnp.float32)), expected, rtol=0, atol=2e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(SHARPEN(jnp.asarray(x)), expected, rtol=0, atol=1e-13)
    flat = np.full((30, 30, 3), 0.3, np.float32)
    np.testing.assert_allclose(SHARPEN(jnp.asarray(flat)), flat, atol=1e-7)


def test_sharpen_reaches_its_radius():
    assert len(gaussian_row(50)) == len(gaussian_row(51)) == 51
    with pytest.raises(ValueError, match="25 pixels is too short"):
        sharpen(jnp.zeros((40, 25, 3)))
