"""`initialization="interpolation"`: an untrained network enlarges the picture, and everything else is random."""

import jax
import numpy as np
import pytest

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


def test_what_carries_no_colours_is_random():
    module = RRDBNet(**SIZES, initialization="interpolation")
    params, other = (initial_variables(module, seed)["params"] for seed in (0, 1))
    for name in ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr"):
        for array in ("weight", "bias"):
            colours, rest = np.split(params[name][array], [3], axis=-1)
            others, other_rest = np.split(other[name][array], [3], axis=-1)
            np.testing.assert_array_equal(colours, others)
            assert (rest != other_rest).all()
    official = initial_variables(RRDBNet(**SIZES), 0)["params"]
    jax.tree.map(np.testing.assert_array_equal, params["body"], official["body"])


@pytest.mark.parametrize("fields", [{"num_feat": 2}, {"num_in_ch": 1, "num_out_ch": 1}, {"num_out_ch": 1}])
def test_networks_that_cannot_start_so(fields):
    module = RRDBNet(**(SIZES | fields), initialization="interpolation")
    with pytest.raises(ValueError, match=r"`initialization` \(=interpolation\) needs num_in_ch=3"):
        initial_variables(module, 0)
