"""States with known numbers, and checkpoints of them."""

import jax
import jax.numpy as jnp
import numpy as np

from esrgan_jax.runs import checkpoint
from esrgan_jax.runs.checkpoint import StageProgress
from esrgan_jax.runs.folder import stage_folder
from esrgan_jax.training.optimizers import adam
from esrgan_jax.training.state import create_generator_state


def make_states(seed=0, features=3):
    rng = np.random.default_rng(seed)
    params = {
        "body": {"weight": rng.normal(size=(2, features)).astype(np.float32)},
        "bias": np.float32([1, 2]),
    }
    state = create_generator_state(params, adam(lambda _: 1e-3), jax.tree.map(lambda x: x / 3, params))
    return jax.device_get({"g": state.replace(finished=jnp.int32(seed))})


def assert_equal(tree, other):
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def write(run_folder, iteration, stage="psnr", seed=None, **progress):
    folder = stage_folder(run_folder, stage) / str(iteration)
    states = make_states(iteration if seed is None else seed)
    checkpoint.write(folder, states, StageProgress(iteration, **progress), {"scale": 4, "betas": (0.9, 0.99)})
    return folder
