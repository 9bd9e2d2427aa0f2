"""Resizing against torch, and against sums over taps."""

import jax
import numpy as np
import pytest
from helpers.degradation import resized as reference

from esrgan_jax.degradation.resize import MODES, resize

# One compiled function for all sizes and modes, as where sizes are drawn.
RESIZE = jax.jit(resize, static_argnames="canvas")
CANVAS = (48, 56)
PICTURE = np.random.default_rng(5).random((23, 37, 3))
SIZES = [(9, 40), (46, 37), (5, 8), (23, 36)]
FACTORS = [0.15, 0.617, 1.0, 1.43]


def resized(x, mode, size_out, **kwargs):
    """The result without what lies beyond it, which is zero."""
    y = np.asarray(RESIZE(x, MODES.index(mode), size_out, canvas=CANVAS, **kwargs))
    assert not y[size_out[0] :].any()
    assert not y[:, size_out[1] :].any()
    return y[: size_out[0], : size_out[1]]


def check(found, expected, float64):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 if float64 else 5e-6)


@pytest.mark.parametrize("float64", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_like_torch(mode, float64):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(PICTURE.transpose(2, 0, 1)[None].copy())

    def by_torch(**kwargs):
        y = torch.nn.functional.interpolate(x, mode=mode, **kwargs)
        return y[0].numpy().transpose(1, 2, 0)

    with jax.enable_x64(float64):
        picture = PICTURE.astype(np.float64 if float64 else np.float32)
        for size in SIZES:
            check(resized(picture, mode, size), by_torch(size=size), float64)
        for factor in FACTORS:
            expected = by_torch(scale_factor=factor)
            size = expected.shape[:2]
            assert size == (int(23 * factor), int(37 * factor))
            check(resized(picture, mode, size, factor=factor), expected, float64)


@pytest.mark.parametrize("mode", MODES)
def test_like_sums_over_taps(mode):
    with jax.enable_x64(True):
        for size, kwargs in ((9, 40), {}), ((5, 8), {}), ((14, 22), {"factor": 0.617}):
            check(
                resized(PICTURE, mode, size, **kwargs), reference(PICTURE, mode, size, **kwargs), float64=True
            )


def test_live_sizes():
    """What is beyond the picture changes nothing."""
    for (height, width), factor in (((23, 37), 1.07), ((12, 20), 1.9), ((19, 33), 0.33)):
        rubbish = np.full(PICTURE.shape, 1e4, np.float32)
        rubbish[:height, :width] = PICTURE[:height, :width]
        size = (int(height * factor), int(width * factor))
        for mode in MODES:
            for kwargs in ({}, {"factor": factor}):
                found = resized(rubbish, mode, size, size=(height, width), **kwargs)
                expected = reference(PICTURE[:height, :width], mode, size, **kwargs)
                check(found, expected, float64=False)


def test_weights_of_bicubic():
    """a (d^3 - 5 d^2 + 8 d - 4) and (a + 2) d^3 - (a + 3) d^2 + 1 with a = -0.75, at d = 1.75, 1.25, 0.75, 0.25."""
    row = np.zeros((1, 8, 3), np.float32)
    row[0, 3] = 1
    weights = resized(row, "bicubic", (1, 16))[0, 3:11, 0]
    half = [-0.03515625, -0.10546875, 0.26171875, 0.87890625]
    np.testing.assert_allclose(weights, half + half[::-1], atol=1e-6)
