"""Initialisations with which an untrained network enlarges the picture, and everything else is random."""

import jax
import numpy as np
import pytest
import skimage.data

from esrgan_jax.imaging.color import to_float, to_uint8
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.metrics.psnr import psnr
from esrgan_jax.models import RRDBNet
from esrgan_jax.models.network import initial_variables

SIZES = {"num_feat": 5, "num_block": 1, "num_grow_ch": 2}


@pytest.mark.parametrize("scale, num_upsample", [(4, 2), (2, 2), (1, 2), (2, 1), (8, 3), (1, 0)])
def test_the_network_starts_as_nearest_enlarging(scale, num_upsample):
    module = RRDBNet(scale, **SIZES, num_upsample=num_upsample, initialization="interpolation")
    picture = np.random.default_rng(0).random((1, 8, 12, 3), np.float32)
    block = module.unshuffle
    blocks = picture.reshape(1, 8 // block, block, 12 // block, block, 3).mean((2, 4))
    zoom = scale * block
    enlarged = module.apply(initial_variables(module, 0), picture)
    np.testing.assert_allclose(enlarged, blocks.repeat(zoom, 1).repeat(zoom, 2), atol=1e-6)


def test_the_network_starts_as_quadratic_splines():
    module = RRDBNet(**SIZES, initialization="spline")
    # Of little contrast: a value below 0 would not pass the leaky ReLU unchanged.
    picture = np.random.default_rng(0).uniform(0.4, 0.6, (1, 16, 16, 3)).astype(np.float32)
    expected = picture
    for axis in (1, 2):
        sharp = 1.4 * expected - 0.2 * (np.roll(expected, 1, axis) + np.roll(expected, -1, axis))
        for _ in range(2):  # a new pixel lies a quarter of a pixel beside an old one
            before, behind = np.roll(sharp, 1, axis), np.roll(sharp, -1, axis)
            pairs = np.stack([0.75 * sharp + 0.25 * before, 0.75 * sharp + 0.25 * behind], axis + 1)
            shape = list(sharp.shape)
            shape[axis] *= 2
            sharp = pairs.reshape(shape)
        expected = sharp
    enlarged = module.apply(initial_variables(module, 0), picture)
    inside = np.s_[:, 12:-12, 12:-12]  # zeros lie around the picture
    np.testing.assert_allclose(enlarged[inside], expected[inside], atol=1e-6)


def test_splines_start_about_as_good_as_bicubic():
    hr = skimage.data.astronaut()[:448, :448]
    lr = imresize(hr, 0.25)
    module = RRDBNet(**SIZES, initialization="spline")
    sr = to_uint8(np.asarray(module.apply(initial_variables(module, 0), to_float(lr[None]))[0]))
    rule = {"crop_border": 16, "y_channel": False}
    assert psnr(sr, hr, **rule) > psnr(imresize(lr, 4), hr, **rule)


@pytest.mark.parametrize("initialization", ["interpolation", "spline"])
def test_what_carries_no_colours_is_random(initialization):
    module = RRDBNet(**SIZES, initialization=initialization)
    params, other = (initial_variables(module, seed)["params"] for seed in (0, 1))
    for name in ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr"):
        for array in ("weight", "bias"):
            colours, rest = np.split(params[name][array], [3], axis=-1)
            others, other_rest = np.split(other[name][array], [3], axis=-1)
            np.testing.assert_array_equal(colours, others)
            assert (rest != other_rest).all()
    official = initial_variables(RRDBNet(**SIZES), 0)["params"]
    jax.tree.map(np.testing.assert_array_equal, params["body"], official["body"])


@pytest.mark.parametrize("initialization", ["interpolation", "spline"])
@pytest.mark.parametrize("fields", [{"num_feat": 2}, {"num_in_ch": 1, "num_out_ch": 1}, {"num_out_ch": 1}])
def test_networks_that_cannot_start_so(fields, initialization):
    module = RRDBNet(**(SIZES | fields), initialization=initialization)
    with pytest.raises(ValueError, match=rf"`initialization` \(={initialization}\) needs num_in_ch=3"):
        initial_variables(module, 0)
