"""A picture in a larger array, with a mask, is the picture by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.variables import random_variables

from esrgan_jax.models import RRDBNet

FIELDS = [
    {"scale": 4},
    {"scale": 2},
    {"scale": 1},
    {"scale": 3, "num_upsample": 1},
    {"scale": 8, "num_upsample": 3},
    {"scale": 1, "num_upsample": 0},
    {"scale": 4, "conv1x1": True},
]


def network(**fields):
    module = RRDBNet(**({"num_feat": 8, "num_block": 2, "num_grow_ch": 4} | fields))
    return module, random_variables(module)


def in_a_tile(module, x, y0, x0, size):
    """The picture at a place of a square of noise, and the mask that says where."""
    u = module.unshuffle
    tile = np.random.default_rng(1).random((1, size * u, size * u, x.shape[-1]), np.float32)
    tile[:, y0 * u : y0 * u + x.shape[1], x0 * u : x0 * u + x.shape[2]] = x
    mask = np.zeros((1, size, size, 1), bool)
    mask[:, y0 : y0 + x.shape[1] // u, x0 : x0 + x.shape[2] // u] = True
    return tile, mask


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_mask_ends_the_picture(fields):
    module, variables = network(**fields)
    u, s = module.unshuffle, module.scale
    x = np.random.default_rng(0).random((1, 12 * u, 9 * u, 3), np.float32)
    apply = jax.jit(module.apply)
    alone = np.asarray(apply(variables, x))
    tile, mask = in_a_tile(module, x, 3, 5, 24)
    top, left = 3 * u * s, 5 * u * s
    inside = np.s_[:, top : top + alone.shape[1], left : left + alone.shape[2]]
    np.testing.assert_allclose(apply(variables, tile, mask)[inside], alone, rtol=0, atol=1e-6)
    assert np.abs(apply(variables, tile)[inside] - alone).max() > 0.01  # what it is without


def test_masked_result_is_bit_for_bit_the_same():
    module, variables = network(num_feat=16, num_grow_ch=8)
    x = np.random.default_rng(0).random((1, 41, 50, 3), np.float32)
    tile, mask = in_a_tile(module, x, 0, 0, 64)
    apply = jax.jit(module.apply)
    np.testing.assert_array_equal(apply(variables, tile, mask)[:, :164, :200], apply(variables, x))


def test_infinities_outside_do_not_count():
    module, variables = network()
    x = np.random.default_rng(0).random((1, 12, 9, 3), np.float32)
    tile, mask = in_a_tile(module, x, 0, 0, 16)
    tile[:, 12:] = np.inf
    assert np.isfinite(jax.jit(module.apply)(variables, tile, mask)[:, :48, :36]).all()


def test_receptive_radius():
    """What is changed so far away changes nothing, and one pixel nearer it does (in float64: little arrives)."""
    module, variables = network(num_block=1, num_feat=4, num_grow_ch=2)
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda leaf: np.abs(leaf).astype(np.float64), variables)
        radius = module.receptive_radius
        assert radius == 19
        x = np.random.default_rng(0).random((1, 1, 60, 3))
        apply = jax.jit(module.apply)
        before = np.asarray(apply(variables, x))
        x[:, :, 50] += 1
        changed = np.nonzero(np.any(np.asarray(apply(variables, x)) != before, axis=(0, 1, 3)))[0] // 4
    assert changed.min() in (50 - radius, 51 - radius)


def test_without_a_mask_nothing_is_selected():
    """Training runs without one."""
    module, variables = network()
    x = jnp.zeros((1, 8, 8, 3))
    plain = str(jax.make_jaxpr(module.apply)(variables, x))
    masked = str(jax.make_jaxpr(module.apply)(variables, x, jnp.ones((1, 8, 8, 1), bool)))
    assert "bool[1,8,8,1]" in masked
    assert "bool[1,8,8,1]" not in plain
    assert plain.count(" = ") < masked.count(" = ")
