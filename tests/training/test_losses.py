"""What each loss gives on numbers worked out by hand, and where its gradient goes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrgan_jax.training.losses import (
    PIXEL_LOSSES,
    GANLoss,
    Perceptual,
    charbonnier_loss,
    frobenius,
    gram,
    l1_loss,
    perceptual_loss,
    style_loss,
    tv_loss,
)

REAL, FAKE = np.array([[2.0], [0.5]], np.float32), np.array([[-1.0], [0.0]], np.float32)


def bce(x, label):
    return np.mean(np.log1p(np.exp(-x)) if label else np.log1p(np.exp(x)))


def test_l1_is_a_mean():
    assert float(l1_loss(jnp.array([1.0, 4.0]), jnp.array([2.0, 1.0]))) == 2.0


def test_relativistic_average():
    loss = GANLoss()
    real, fake = loss.discriminator(REAL, FAKE)
    assert float(real) == pytest.approx(0.5 * bce(REAL - FAKE.mean(), 1), rel=1e-6)
    assert float(fake) == pytest.approx(0.5 * bce(FAKE - REAL.mean(), 0), rel=1e-6)
    expected = 0.5 * (bce(REAL - FAKE.mean(), 0) + bce(FAKE - REAL.mean(), 1))
    assert float(loss.generator(REAL, FAKE)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("gan_type", "g", "d_real", "d_fake"),
    [
        ("vanilla", bce(FAKE, 1), bce(REAL, 1), bce(FAKE, 0)),
        ("lsgan", np.mean((FAKE - 1) ** 2), np.mean((REAL - 1) ** 2), np.mean(FAKE**2)),
        ("wgan", 0.5, -1.25, -0.5),
        ("wgan_softplus", np.mean(np.log1p(np.exp(-FAKE))), bce(REAL, 1), bce(FAKE, 0)),
        ("hinge", 0.5, 0.25, 0.5),
    ],
)
def test_plain_losses(gan_type, g, d_real, d_fake):
    loss = GANLoss(gan_type, relativistic=False)
    assert float(loss.generator(None, jnp.asarray(FAKE))) == pytest.approx(g, rel=1e-5)
    assert [float(x) for x in loss.discriminator(REAL, FAKE)] == pytest.approx([d_real, d_fake], rel=1e-5)


def test_relativistic_hinge_gives_the_generator_no_gradient():
    gradient = jax.grad(lambda fake: GANLoss("hinge").generator(REAL, fake))(jnp.asarray(FAKE))
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_where_gradients_go():
    of_real, of_fake = jax.grad(GANLoss().generator, (0, 1))(jnp.asarray(REAL), jnp.asarray(FAKE))
    assert not np.any(of_real)
    assert np.all(of_fake)

    def fake_half(loss):
        return jax.grad(lambda real: loss.discriminator(real, jnp.asarray(FAKE))[1])(jnp.asarray(REAL))

    assert not np.any(fake_half(GANLoss()))
    assert np.all(fake_half(GANLoss(detach_means=False)))


def test_perceptual_and_style():
    a = {"x": jnp.arange(8.0).reshape(1, 2, 2, 2), "y": jnp.ones((1, 1, 1, 1))}
    b = {"x": jnp.zeros((1, 2, 2, 2)), "y": jnp.zeros((1, 1, 1, 1))}
    assert float(perceptual_loss(a, b, {"x": 2.0, "y": 0.5})) == pytest.approx(2 * 3.5 + 0.5)
    flat = np.arange(8.0).reshape(4, 2)
    np.testing.assert_allclose(gram(a["x"])[0], flat.T @ flat / 8)
    assert float(style_loss(a, b, {"x": 1.0})) == pytest.approx(np.mean(flat.T @ flat / 8))


def test_unknown_type():
    with pytest.raises(ValueError, match="gan_type"):
        GANLoss("wasserstein")


@pytest.fixture
def pictures():
    rng = np.random.default_rng(5)
    return rng.random((2, 6, 5, 3)), rng.random((2, 6, 5, 3)), rng.random((2, 6, 5, 1)) + 0.1


def test_pixel_losses_are_those_of_torch(pictures):
    torch = pytest.importorskip("torch")
    a, b, _ = pictures
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    expected = {
        "l1": torch.nn.functional.l1_loss(x, y),
        "mse": torch.nn.functional.mse_loss(x, y),
        "charbonnier": torch.sqrt((x - y) ** 2 + 1e-12).mean(),
    }
    with jax.enable_x64(True):
        for name, loss in PIXEL_LOSSES.items():
            assert float(loss(a, b)) == pytest.approx(expected.pop(name).item(), rel=1e-12)
        assert not expected
        assert np.all(np.isfinite(jax.grad(charbonnier_loss)(jnp.zeros(3), jnp.zeros(3))))


def test_total_variation_is_that_of_torch(pictures):
    """Weighted means, in PyTorch's layout: the weight of a pixel counts once for each channel."""
    torch = pytest.importorskip("torch")
    a, _, weight = pictures
    x, w = (torch.from_numpy(array.transpose(0, 3, 1, 2).copy()) for array in (a, weight))

    def mean(of, by):
        return of.abs().mean() if by is None else (of.abs() * by).sum() / (by.sum() * of.shape[1])

    for by, ours in ((None, None), (w, weight)):
        rows = mean(x[:, :, :-1] - x[:, :, 1:], None if by is None else by[:, :, :-1])
        columns = mean(x[:, :, :, :-1] - x[:, :, :, 1:], None if by is None else by[:, :, :, :-1])
        with jax.enable_x64(True):
            assert float(tv_loss(a, ours)) == pytest.approx((rows + columns).item(), rel=1e-12)


def test_frobenius_is_that_of_torch(pictures):
    torch = pytest.importorskip("torch")
    a, b, _ = pictures
    x = torch.from_numpy(a).requires_grad_()
    norm = torch.norm(x - torch.from_numpy(b), p="fro")
    norm.backward()
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(frobenius)(jnp.asarray(a), b)
        assert float(value) == pytest.approx(norm.item(), rel=1e-12)
        np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-12, atol=1e-15)
        assert not np.any(jax.grad(frobenius)(jnp.asarray(a), a))
    features = {"x": jnp.asarray(a), "y": jnp.asarray(a[:1])}
    others = {"x": jnp.asarray(b), "y": jnp.asarray(b[:1])}
    expected = 2 * np.linalg.norm(a - b) + 0.5 * np.linalg.norm(a[:1] - b[:1])
    found = perceptual_loss(features, others, {"x": 2.0, "y": 0.5}, frobenius)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_unknown_criterion():
    with pytest.raises(ValueError, match="criterion"):
        Perceptual(None, {}, criterion="l2")
