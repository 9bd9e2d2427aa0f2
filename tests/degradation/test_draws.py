"""Shares and ranges of what is drawn, over many keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from esrgan_jax.degradation import DegradationOptions, kernels
from esrgan_jax.degradation.draws import SINC, draw, make_kernel

KEYS = 4000
KEY = jax.random.key(1, impl="threefry2x32")
KINDS = np.array([0.405, 0.225, 0.108, 0.027, 0.108, 0.027, 0.1])
PI = np.pi


def drawn(options=None):
    keys = jax.vmap(lambda patch: jax.random.fold_in(KEY, patch))(jnp.arange(KEYS))
    return jax.device_get(jax.jit(jax.vmap(lambda key: draw(key, options)))(keys))


@pytest.fixture(scope="module")
def draws():
    return drawn()


def shares(found, expected):
    counts = np.bincount(found.astype(int), minlength=len(expected))
    expected = np.asarray(expected) / np.sum(expected) * len(found)
    assert stats.chisquare(counts, expected).pvalue > 1e-3, counts / len(found)


def uniform(found, low, high):
    assert len(found) > 50
    assert low - 1e-6 <= found.min() <= found.max() <= high + 1e-5
    assert stats.kstest(found, stats.uniform(low, high - low).cdf).pvalue > 1e-3


@pytest.mark.parametrize("order", ["first", "second"])
def test_blur(draws, order):
    blur, largest = getattr(draws, order).blur, {"first": 3, "second": 1.5}[order]
    shares(blur.kind, KINDS)
    shares((blur.size - 7) / 2, np.ones(8))
    aniso = blur.kind % 2 == 1
    uniform(blur.sigma_x, 0.2, largest)
    uniform(blur.sigma_y[aniso], 0.2, largest)
    uniform(blur.theta[aniso], -PI, PI)
    assert (blur.sigma_y == blur.sigma_x)[~aniso].all()
    assert not blur.theta[~aniso].any()
    generalized, plateau, sinc = (blur.kind // 2 == number for number in (1, 2, 3))
    beta = blur.beta[generalized]
    shares(beta < 1, [1, 1])
    uniform(beta[beta < 1], 0.5, 1)
    uniform(beta[beta >= 1], 1, 4)
    beta = blur.beta[plateau]
    shares(beta == 1, [1, 1])
    uniform(beta[beta > 1], 1, 2)
    uniform(blur.omega[sinc & (blur.size < 13)], PI / 3, PI)
    uniform(blur.omega[sinc & (blur.size >= 13)], PI / 5, PI)


@pytest.mark.parametrize(
    ("order", "resize_prob", "smallest", "largest", "noise", "poisson", "blurs"),
    [("first", [0.2, 0.7, 0.1], 0.15, 1.5, 30, 3, 1), ("second", [0.3, 0.4, 0.3], 0.3, 1.2, 25, 2.5, 0.8)],
)
def test_order(draws, order, resize_prob, smallest, largest, noise, poisson, blurs):
    found = getattr(draws, order)
    shares(found.resize, resize_prob)
    uniform(found.factor[found.resize == 0], 1, largest)
    uniform(found.factor[found.resize == 1], smallest, 1)
    assert (found.factor[found.resize == 2] == 1).all()
    shares(found.mode, [1, 1, 1])
    shares(found.gaussian, [1, 1])
    uniform(found.sigma, 1, noise)
    uniform(found.poisson_scale, 0.05, poisson)
    shares(found.grey, [0.6, 0.4])
    uniform(found.quality, 30, 95)
    if blurs == 1:
        assert found.blurs.all()
    else:
        shares(found.blurs, [1 - blurs, blurs])


def test_end(draws):
    shares(draws.jpeg_last, [1, 1])
    shares(draws.mode, [1, 1, 1])
    shares(draws.sincs, [0.2, 0.8])
    assert (draws.sinc.kind == SINC).all()
    uniform(draws.sinc.omega, PI / 3, PI)  # at every size
    shares((draws.sinc.size - 7) / 2, np.ones(8))
    uniform(draws.top, 0, 1)
    uniform(draws.left, 0, 1)


def test_nothing_is_drawn_together(draws):
    """Numbers that have nothing to do with each other are not correlated."""
    free = [
        draws.jpeg_last,
        draws.mode,
        draws.sincs,
        draws.sinc.size,
        draws.sinc.omega,
        draws.top,
        draws.left,
    ]
    for order in (draws.first, draws.second):
        blur = order.blur
        free += [blur.kind, blur.size, blur.sigma_x, order.resize, order.mode, order.gaussian]
        free += [order.sigma, order.poisson_scale, order.grey, order.quality]
    correlations = np.corrcoef(np.array(free, float)) - np.eye(len(free))
    assert np.abs(correlations).max() < 5 / np.sqrt(KEYS)


def test_options():
    options = DegradationOptions(
        kernel_list=("plateau_aniso", "iso"),
        kernel_prob=(0, 1),
        sinc_prob=0,
        resize_prob=(0, 0, 1),
        jpeg_range=(20, 20),
    )
    found = drawn(options)
    assert not found.first.blur.kind.any()
    assert (found.first.resize == 2).all()
    assert (found.first.quality == 20).all()
    shares(found.second.blur.kind, KINDS)


def test_kernels(draws):
    """The kernel of a draw is that of its kind."""
    make = jax.jit(make_kernel)
    for number in range(7):
        chosen = np.flatnonzero(draws.first.blur.kind == number)[0]
        blur = jax.tree.map(lambda x, i=chosen: x[i], draws.first.blur)
        shape = (blur.size, blur.sigma_x, blur.sigma_y, blur.theta)
        expected = [
            lambda s=shape: kernels.gaussian_kernel(*s),
            lambda s=shape, b=blur: kernels.generalized_kernel(*s, b.beta),
            lambda s=shape, b=blur: kernels.plateau_kernel(*s, b.beta),
            lambda b=blur: kernels.sinc_kernel(b.size, b.omega),
        ][number // 2]()
        np.testing.assert_allclose(make(blur), expected, atol=1e-6)
