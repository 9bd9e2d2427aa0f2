"""Noise: means, variances, levels; and the distribution of counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from esrgan_jax.degradation.noise import gaussian_noise, poisson_noise, poisson_table, value_exponent

KEY = jax.random.key(8, impl="threefry2x32")
SHAPE = (120, 130, 3)
GAUSSIAN, POISSON, EXPONENT = jax.jit(gaussian_noise), jax.jit(poisson_noise), jax.jit(value_exponent)


def textured(levels):
    """A picture of so many different levels, and the levels themselves."""
    chosen = np.sort(np.random.default_rng(levels).permutation(256)[:levels])
    numbers = np.arange(np.prod(SHAPE)) % levels
    return chosen[numbers].reshape(SHAPE)


@pytest.mark.parametrize("grey", [False, True])
def test_gaussian(grey):
    noise = np.asarray(GAUSSIAN(jnp.full(SHAPE, 0.4), KEY, 20.0, grey)) - 0.4
    different = np.ptp(noise, axis=-1).max()
    assert (different < 1e-6) == grey
    independent = noise[..., 0] if grey else noise
    assert stats.kstest(independent.ravel() * 255 / 20, stats.norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize("levels", [1, 2, 16, 17, 130, 256])
def test_number_of_levels(levels):
    picture = textured(levels)
    assert 2 ** int(EXPONENT(picture)) == 2 ** np.ceil(np.log2(levels))
    beyond = picture.copy()
    beyond[60:] = np.arange(60 * SHAPE[1] * 3).reshape(60, *SHAPE[1:]) % 256
    assert int(EXPONENT(beyond, (60, SHAPE[1]))) == int(EXPONENT(picture))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("levels", [5, 200])
def test_poisson(levels, grey):
    y, scale = textured(levels) / 255, 0.7
    if grey:
        y = np.repeat(y[..., :1], 3, axis=-1)
    # Not rounded: noise is that of the nearest level, and is added to the picture itself.
    x = y + np.random.default_rng(0).uniform(-0.3, 0.3, (*SHAPE[:2], 1)) / 255
    v = 2 ** np.ceil(np.log2(levels))
    noise = (np.asarray(POISSON(jnp.asarray(x, jnp.float32), KEY, scale, grey)) - x) / scale
    assert (np.ptp(noise, axis=-1).max() < 1e-6) == grey
    if grey:
        noise, y = noise[..., 0], y[..., 0]
    # The weights of luma sum to 0.9999: the levels of a grey picture may be one below.
    standard = ((noise * v + y * v) - y * v)[y > 0] / np.sqrt(y * v)[y > 0]
    n = standard.size
    assert abs(standard.mean()) < 4 / np.sqrt(n) + 0.01 * grey
    assert standard.var() == pytest.approx(1, abs=5 * np.sqrt(3 / n) + 0.01 * grey)


def test_counts_are_poisson():
    """Chi-square of the counts at single rates, small and large."""
    values, level = 256, np.array([1, 7, 60, 255])
    picture = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 256
    picture[:100] = level[np.arange(100 * SHAPE[1] * 3) % 4].reshape(100, *SHAPE[1:])
    x = jnp.asarray(picture / 255, jnp.float32)
    counts = np.round((np.asarray(POISSON(x, KEY, 1.0, False)) - picture / 255 + picture / 255) * values)
    for one in level:
        found = counts[:100][picture[:100] == one]
        law = stats.poisson(one / 255 * values)
        edges = np.unique(law.ppf(np.linspace(0.05, 0.95, 12)))
        expected = np.diff(np.concatenate([[0], law.cdf(edges), [1]])) * found.size
        cells = np.bincount(np.searchsorted(edges, found), minlength=len(edges) + 1)
        keep = expected > 5
        assert (
            stats.chisquare(cells[keep], expected[keep] * cells[keep].sum() / expected[keep].sum()).pvalue
            > 1e-3
        )


def test_table():
    table = poisson_table()
    assert table.shape == (9, 256, 512)
    assert (np.diff(table, axis=-1) >= 0).all()
    assert (table[..., -1] == 1).all()
    np.testing.assert_allclose(table[3, 100], stats.poisson(8 * 100 / 255).cdf(np.arange(512)), atol=1e-7)
