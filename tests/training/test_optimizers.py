"""Learning rates at the iterations that matter, Adam against PyTorch's, EMA."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrgan_jax.training.optimizers import adam, cosine_restart_schedule, multistep_schedule, update_ema

LENGTH = 250_000


def official_cosine(base, eta_min, iteration):
    """BasicSR's CosineAnnealingRestartLR with four periods: k - 1 counts, the boundary is the old period's."""
    t = iteration - 1
    start = next(LENGTH * i for i in range(4) if t <= LENGTH * (i + 1))
    return eta_min + 0.5 * (base - eta_min) * (1 + math.cos(math.pi * (t - start) / LENGTH))


@pytest.mark.parametrize("iteration", [1, 2, 50_000, 50_001, 250_000, 250_001, 250_002, 1_000_000])
def test_learning_rates_of_the_official_recipe(iteration):
    with jax.enable_x64(True):
        cosine = cosine_restart_schedule(2e-4, (LENGTH,) * 4, (1.0,) * 4, 1e-7)
        milestones = (50_000, 100_000, 200_000, 300_000)
        multistep = multistep_schedule(1e-4, milestones)
        finished = jnp.asarray(iteration - 1, jnp.int32)
        assert float(cosine(finished)) == pytest.approx(official_cosine(2e-4, 1e-7, iteration), rel=1e-12)
        passed = sum(iteration - 1 >= m for m in milestones)
        assert float(multistep(finished)) == pytest.approx(1e-4 * 0.5**passed, rel=1e-12)


def test_boundaries():
    cosine = cosine_restart_schedule(1.0, (10, 5), (1.0, 0.5), 0.0)
    assert float(cosine(0)) == 1
    assert float(cosine(10)) == pytest.approx(0, abs=1e-7)  # iteration 11 still ends the first period
    assert float(cosine(11)) == pytest.approx(0.25 * (1 + math.cos(math.pi / 5)))
    assert float(cosine(15)) == pytest.approx(0, abs=1e-7)
    assert float(cosine(99)) == pytest.approx(0, abs=1e-7)  # longer than planned: stays at the minimum
    multistep = multistep_schedule(1.0, (3, 5), 0.1)
    assert [round(float(multistep(t)), 6) for t in (2, 3, 4, 5)] == [1, 0.1, 0.1, 0.01]


def test_weights_must_match_periods():
    with pytest.raises(ValueError, match="restart_weights"):
        cosine_restart_schedule(1.0, (10, 5), (1.0,))


@pytest.mark.parametrize("max_grad_norm", [None, 2.5])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_is_torchs(weight_decay, max_grad_norm):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=7), rng.normal(size=(5, 7))
    norms = np.linalg.norm(grads, axis=1)
    assert norms.min() < 2.5 < norms.max()
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.Adam([theirs], lr=1e-2, betas=(0.9, 0.99), weight_decay=weight_decay)
    for grad in grads:
        theirs.grad = torch.tensor(grad)
        if max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_([theirs], max_grad_norm)
        optimizer.step()
    with jax.enable_x64(True):
        ours = adam(lambda finished: 1e-2, (0.9, 0.99), weight_decay, max_grad_norm=max_grad_norm)
        params = jnp.asarray(start)
        state = ours.init(params)
        for k, grad in enumerate(grads):
            updates, state = ours.update(jnp.asarray(grad), state, params, finished=k)
            params = params + updates
        # torch adds 1e-6 to the norm that it divides by.
        tolerance = 1e-14 if max_grad_norm is None else 1e-8
        np.testing.assert_allclose(params, theirs.detach().numpy(), rtol=0, atol=tolerance)


def test_rate_follows_iterations_not_updates():
    optimizer = adam(lambda finished: jnp.where(finished < 10, 1.0, 0.5))
    params = jnp.zeros(1)
    state = optimizer.init(params)
    early, _ = optimizer.update(jnp.ones(1), state, params, finished=0)
    late, _ = optimizer.update(jnp.ones(1), state, params, finished=10)
    assert float(late[0] / early[0]) == pytest.approx(0.5)


def test_ema_without_bias_correction():
    ema = update_ema({"a": jnp.ones(2)}, {"a": jnp.zeros(2)}, 0.75)
    np.testing.assert_allclose(ema["a"], 0.75)
