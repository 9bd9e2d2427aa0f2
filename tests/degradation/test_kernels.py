"""Blur kernels against numpy and scipy, and single numbers of the original."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from esrgan_jax.degradation import kernels

GAUSSIAN, GENERALIZED, PLATEAU, SINC = (
    jax.jit(function, static_argnames="dtype")
    for function in (
        kernels.gaussian_kernel,
        kernels.generalized_kernel,
        kernels.plateau_kernel,
        kernels.sinc_kernel,
    )
)
CASES = [(7, 0.3, 0.3, 0.0), (13, 2.5, 0.4, -2.1), (21, 3.0, 1.1, 0.8)]


def grid(size):
    r = np.arange(size) - size // 2
    return np.meshgrid(r, r)


def reference_q(size, sigma_x, sigma_y, theta):
    turned = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    inverse = np.linalg.inv(turned @ np.diag([sigma_x**2, sigma_y**2]) @ turned.T)
    p = np.stack(grid(size), axis=-1)
    return np.einsum("yxi,ij,yxj->yx", p, inverse, p)


def check(found, expected, dtype):
    size = len(expected)
    edge = (kernels.CANVAS - size) // 2
    padded = np.pad(expected / expected.sum(), edge)
    np.testing.assert_allclose(found, padded, rtol=0, atol=1e-14 if dtype == jnp.float64 else 3e-7)
    assert found.dtype == dtype


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("case", CASES)
def test_elliptical(case, dtype):
    q = reference_q(*case)
    with jax.enable_x64(True):
        check(GAUSSIAN(*case, dtype=dtype), np.exp(-q / 2), dtype)
        for beta in (0.5, 1.0, 3.7):
            found = GENERALIZED(*case, beta, dtype=dtype)
            check(found, np.exp(-(q**beta) / 2), dtype)
            check(PLATEAU(*case, beta, dtype=dtype), 1 / (q**beta + 1), dtype)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(("size", "omega"), [(7, np.pi), (15, 0.7), (21, 2.2)])
def test_sinc(size, omega, dtype):
    r = np.hypot(*grid(size))
    with np.errstate(invalid="ignore"):
        values = omega * special.j1(omega * r) / (2 * np.pi * r)
    values[size // 2, size // 2] = omega**2 / (4 * np.pi)
    with jax.enable_x64(True):
        check(SINC(size, omega, dtype=dtype), values, dtype)


def test_bessel_j1():
    x = np.linspace(0, 45, 3001)
    assert np.abs(kernels.bessel_j1(jnp.asarray(x, jnp.float32)) - special.j1(x)).max() < 2e-6
    with jax.enable_x64(True):
        np.testing.assert_allclose(kernels.bessel_j1(jnp.asarray(x)), special.j1(x), rtol=0, atol=5e-15)


def test_numbers_of_the_original():
    """Computed with BasicSR 1.4.2."""
    with jax.enable_x64(True):
        kwargs = {"dtype": jnp.float64}
        ellipse = (15, 2.0, 1.0, 0.4)
        found = [
            GAUSSIAN(21, 1.3, 1.3, **kwargs)[10, 10],
            GAUSSIAN(21, 2.0, 0.7, 0.6, **kwargs)[9, 12],
            GENERALIZED(*ellipse, 0.7, **kwargs)[10, 10],
            PLATEAU(*ellipse, 1.5, **kwargs)[3, 3],
            SINC(13, np.pi / 3, **kwargs)[10, 10],
            SINC(21, 2.5, **kwargs)[10, 13],
        ]
    expected = [
        0.09417452253958185,
        0.001988661686279725,
        0.047703475108840585,
        0.00037597040233119353,
        0.10918718395207264,
        0.018361043971280352,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
