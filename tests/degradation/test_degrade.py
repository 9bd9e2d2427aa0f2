"""The whole degradation: against its steps one after the other, on any devices, in a recipe."""

from __future__ import annotations

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.degradation import compressed, correlate, resized, sharpened
from helpers.toy_networks import ToyNet

from esrgan_jax.degradation import DegradationOptions, degrade, make_prepare
from esrgan_jax.degradation.degrade import crop_targets, degrade_as_drawn
from esrgan_jax.degradation.draws import draw, make_kernel
from esrgan_jax.degradation.resize import MODES
from esrgan_jax.degradation.usm import sharpen
from esrgan_jax.errors import ConfigError
from esrgan_jax.system import parallel
from esrgan_jax.training.optimizers import Optimizer, multistep_schedule
from esrgan_jax.training.recipe import PixelRecipe
from esrgan_jax.training.steps import make_prepare_step

HEIGHT, WIDTH, SCALE = 64, 80, 4
# One canvas: what is compiled is half as long.
OPTIONS = DegradationOptions(scale=SCALE, gt_size=48, resize_range=(0.6, 1))
KEY = jax.random.key(4, impl="threefry2x32")


def pictures(count):
    """Smooth pictures with some texture, uint8."""
    noise = np.random.default_rng(0).normal(size=(count, HEIGHT, WIDTH, 3))
    smooth = np.cumsum(np.cumsum(noise, 1), 2)
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 255
    return np.clip(smooth + 6 * noise, 0, 255).round().astype(np.uint8)


def a_wave(x, sigma):
    """Instead of noise, because its shape depends on the canvas."""
    y, x_, c = (jnp.arange(side) for side in x.shape)
    return x + sigma / 255 * jnp.sin(3 * y[:, None, None] + 5 * x_[:, None] + 7 * c)


def one_after_the_other(picture, drawn):
    """The steps of the paper's figure 2, in numpy, on arrays of their sizes."""
    x = correlate(picture, make_kernel(drawn.first.blur))
    size = [int(side * drawn.first.factor) for side in (HEIGHT, WIDTH)]
    x = resized(x, MODES[drawn.first.mode], size, drawn.first.factor)
    x = compressed(np.clip(a_wave(x, drawn.first.sigma), 0, 1), drawn.first.quality)
    if drawn.second.blurs:
        x = correlate(x, make_kernel(drawn.second.blur))
    size = [int(side / SCALE * drawn.second.factor) for side in (HEIGHT, WIDTH)]
    x = resized(x, MODES[drawn.second.mode], size)
    x = np.clip(a_wave(x, drawn.second.sigma), 0, 1)
    if not drawn.jpeg_last:
        x = compressed(x, drawn.second.quality)
    x = resized(x, MODES[drawn.mode], (HEIGHT // SCALE, WIDTH // SCALE))
    if drawn.sincs:
        x = correlate(x, make_kernel(drawn.sinc))
    if drawn.jpeg_last:
        x = compressed(np.clip(x, 0, 1), drawn.second.quality)
    return np.clip(np.round(255 * x), 0, 255)


def test_steps_one_after_the_other(monkeypatch):
    module = sys.modules["esrgan_jax.degradation.degrade"]
    monkeypatch.setattr(module, "gaussian_noise", lambda x, key, sigma, grey: a_wave(x, sigma))
    monkeypatch.setattr(module, "poisson_noise", lambda x, *others: x)
    run = jax.jit(lambda picture, drawn: degrade_as_drawn(picture, drawn, KEY, OPTIONS))
    picture = sharpened(pictures(1)[0] / 255)
    seen = set()
    for jpeg_last, blurs, sincs, seed in (
        (True, True, True, 0),
        (False, False, True, 1),
        (False, True, False, 2),
    ):
        drawn = draw(jax.random.fold_in(KEY, seed), OPTIONS)
        drawn = drawn._replace(
            first=drawn.first._replace(gaussian=jnp.bool_(True)),
            second=drawn.second._replace(gaussian=jnp.bool_(True), blurs=jnp.bool_(blurs)),
            jpeg_last=jnp.bool_(jpeg_last),
            sincs=jnp.bool_(sincs),
        )
        found = np.asarray(run(picture.astype(np.float32), drawn)).astype(int)
        assert found.shape == (HEIGHT // SCALE, WIDTH // SCALE, 3)
        difference = np.abs(found - one_after_the_other(picture, jax.device_get(drawn)))
        assert (difference > 0).mean() < 0.005  # ties
        seen.add((int(drawn.first.mode), int(drawn.first.resize)))
    assert len(seen) > 1


def test_a_recipe_and_its_pictures_are_the_same_on_any_devices(monkeypatch):
    """One, two and four devices; on four each has one sample. Later, in another order, a sample is the same."""
    prepared = []

    def noting(*args):
        step = make_prepare_step(*args)

        def prepare(batch):
            prepared.append(step(batch))
            return prepared[-1]

        return prepare

    monkeypatch.setattr("esrgan_jax.training.recipe.make_prepare_step", noting)
    recipe = PixelRecipe(
        ToyNet(scale=SCALE),
        Optimizer(multistep_schedule(1e-3, ())),
        pixel_target="hr_usm",
        prepare=make_prepare(OPTIONS),
    )
    hr, order = pictures(4), np.array([2, 0, 3, 1])
    results = []
    for count in (1, 2, 4):
        devices = jax.local_devices()[:count]
        iterate = recipe.build(devices, seed=9)
        states = parallel.replicate(recipe.initial_states(0), devices)
        for k, places in enumerate((np.arange(4), order), 1):
            batch = {
                "lr": np.zeros((4, 1), np.uint8),
                "hr": hr[places],
                "patch": places.astype(np.uint32) + 70,
            }
            states, metrics = iterate(states, parallel.shard(batch, devices), k)
        results.append(jax.device_get((states["g"].params, metrics)))
    for result in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), result, results[0])
    assert 0.01 < results[0][1]["l_g_pix"] < 1

    batches = [
        {name: np.asarray(x).reshape(4, *x.shape[2:]) for name, x in batch.items()} for batch in prepared
    ]
    first = batches[0]
    assert {name: (x.shape, x.dtype) for name, x in first.items()} == {
        "lr": ((4, 12, 12, 3), np.uint8),
        "hr": ((4, 48, 48, 3), np.uint8),
        "hr_usm": ((4, 48, 48, 3), np.float32),
    }
    for k, batch in enumerate(batches):
        for name, x in batch.items():
            np.testing.assert_array_equal(x, first[name][order] if k % 2 else first[name])
    for sample, whole in enumerate(hr):
        lr, crop, usm = (first[name][sample] for name in ("lr", "hr", "hr_usm"))
        windows = np.lib.stride_tricks.sliding_window_view(whole, crop.shape)[::SCALE, ::SCALE, 0]
        assert (windows == crop).all((2, 3, 4)).sum() == 1
        np.testing.assert_allclose(usm, sharpened(crop / 255), atol=2e-4)
        small = crop.reshape(12, SCALE, 12, SCALE, 3).mean((1, 3))
        assert 1 < np.abs(lr - small).mean() < 60  # the same place, and not the same picture


@pytest.mark.parametrize("count", [1, 3])
def test_no_map_over_one_sample(count):
    """Of such a map XLA would make no loop, and fuse otherwise: single values could be rounded to the next level."""
    keys = jax.random.split(KEY, count)
    traced = str(jax.make_jaxpr(make_prepare(OPTIONS))({"hr": pictures(count)}, keys))
    assert re.findall(r"\blength=(\d+)", traced) == [str(max(2, count))]


def test_target_that_is_sharpened_before_the_crop():
    """RealESRNet's target is cut from the whole sharpened picture; it differs at the crop's edge alone."""
    gt = jnp.asarray(pictures(1)[0])
    whole = np.asarray(sharpen(gt.astype(jnp.float32) / 255))
    options = DegradationOptions(scale=SCALE, gt_size=48, resize_range=(0.6, 1), usm_before_crop=True)
    _, hr, hr_usm = jax.eval_shape(lambda: degrade(gt, KEY, options))
    assert hr_usm.shape == hr.shape
    hr, before = crop_targets(gt, whole, (8, 12), options)
    np.testing.assert_array_equal(before, whole[8:56, 12:60])
    np.testing.assert_array_equal(hr, gt[8:56, 12:60])
    _, after = crop_targets(gt, whole, (8, 12), OPTIONS)
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize(
    ("shape", "fields", "sentence"),
    [
        ((66, 64), {}, "66 x 64 pixels has sides that are no multiples of 4"),
        ((64, 40), {}, "`gt_size` .* exceeds"),
        ((64, 64), {"gt_size": 24}, "`gt_size` .* more than 25"),
        ((64, 64), {"resize_range": (0.15, 1.5)}, "becomes 9 pixels by `resize_range`"),
        ((64, 64), {"scale": 8}, "and 8 by `scale`"),
        ((64, 64), {"resize_range2": (0.05, 1)}, "`resize_range2` .* leaves nothing"),
    ],
)
def test_sizes_that_do_not_fit(shape, fields, sentence):
    options = DegradationOptions(**{"gt_size": 48, "resize_range": (0.6, 1)} | fields)
    with pytest.raises(ConfigError, match=sentence):
        jax.eval_shape(lambda: degrade(jnp.zeros((*shape, 3), jnp.uint8), KEY, options))
