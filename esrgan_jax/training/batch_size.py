"""How large a batch fits into memory, and how long an iteration with it takes on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from esrgan_jax.system import devices, memory, parallel
from esrgan_jax.training.recipe import generator_from_config, patch_from_config, recipe_from_config

TIMED_SECONDS = 5.0


def fit_batch_size(config: ConfigDict, chosen: set[str]) -> tuple[float, int]:
    """Choose a batch whose training fits into half of the free memory; return `time_iterations` of it."""
    used = devices.choose_devices(config.num_devices)
    if "psnr.batch_size" not in chosen:
        if used[0].platform != "cpu":
            config.psnr.batch_size = 16  # as published; two cores make more progress with less
        config.psnr.batch_size = max(len(used), config.psnr.batch_size // len(used) * len(used))
        free = memory.free_bytes(used)
        while config.psnr.batch_size > len(used) and _activation_bytes(config) / len(used) > free / 2:
            config.psnr.batch_size = max(len(used), config.psnr.batch_size // 2 // len(used) * len(used))
    return time_iterations(config, used)


def _activation_bytes(config: ConfigDict) -> float:
    """Return about how much memory one iteration takes: what the forward keeps for the backward, twice."""
    generator = generator_from_config(config)
    side = config.psnr.gt_size // generator.scale
    x = jax.ShapeDtypeStruct((config.psnr.batch_size, side, side, 3), np.float32)
    variables = jax.eval_shape(lambda: generator.init(jax.random.key(0), np.zeros(generator.example_shape)))
    _, kept = jax.eval_shape(lambda v, x: jax.vjp(generator.apply, v, x), variables, x)
    return 2.0 * sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


def time_iterations(config: ConfigDict, used: Sequence[jax.Device]) -> tuple[float, int]:
    """Return the seconds of one iteration of the PSNR stage, and how many were timed after the one that compiles."""
    recipe = recipe_from_config(config, "psnr")
    patch = patch_from_config(config, "psnr")
    side, scale = patch["gt_size"], patch["scale"]
    iterate = recipe.build(used)
    states = parallel.replicate(recipe.initial_states(config.seed), used)
    noise = np.random.default_rng(0).integers(0, 256, (config.psnr.batch_size, side, 3), np.uint8)
    hr = np.repeat(noise[:, None], side, axis=1)
    arrays = {"lr": hr[:, ::scale, ::scale], "hr": hr}
    if recipe.prepare is not None:
        arrays["patch"] = np.arange(len(hr), dtype=np.uint32)
    batch = parallel.shard(arrays, used)
    states, _ = jax.block_until_ready(iterate(states, batch, 1))
    start, count = time.perf_counter(), 0
    while count < 2 or (time.perf_counter() - start < TIMED_SECONDS and count < 100):
        count += 1
        states, _ = jax.block_until_ready(iterate(states, batch, count + 1))
    return (time.perf_counter() - start) / count, count
