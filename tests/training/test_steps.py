"""The steps as functions: lowered from shapes alone, with a preparation in front, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.variables import random_variables

from esrgan_jax.data.pipeline import make_train_iterator, state_at
from esrgan_jax.data.samples import SampleSource
from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator
from esrgan_jax.models.network import initial_variables
from esrgan_jax.system import parallel
from esrgan_jax.training.losses import Perceptual
from esrgan_jax.training.optimizers import Optimizer, multistep_schedule
from esrgan_jax.training.recipe import GanRecipe, PixelRecipe
from esrgan_jax.training.steps import (
    make_discriminator_step,
    make_generator_step,
    make_pixel_step,
    make_prepare_step,
)

OPTIMIZER = Optimizer(multistep_schedule(1e-4, (50_000,)))
SMALL = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2)


def test_all_steps_are_lowered_from_shapes_alone():
    """Full-size networks with VGG19, of which no number is ever made."""
    devices = jax.local_devices()[:2]
    before = sum(x.nbytes for x in jax.live_arrays())
    vgg = VGGFeatureExtractor("vgg19", ("conv5_4",))
    perceptual = Perceptual(vgg, jax.eval_shape(lambda: initial_variables(vgg, 0)))
    recipe = GanRecipe(
        RRDBNet(), VGGStyleDiscriminator(axis_name=parallel.AXIS), OPTIMIZER, OPTIMIZER, perceptual=perceptual
    )
    states = jax.eval_shape(lambda: recipe.initial_states(0))
    batch = {
        "lr": jax.ShapeDtypeStruct((2, 2, 32, 32, 3), "uint8"),
        "hr": jax.ShapeDtypeStruct((2, 2, 128, 128, 3), "uint8"),
    }
    optimizer = OPTIMIZER.transformation()
    generator, discriminator = recipe.generator, recipe.discriminator
    generator_step = make_generator_step(
        generator, discriminator, optimizer, perceptual=perceptual, devices=devices
    )
    lowered = generator_step.lower(states["g"], states["d"], batch)
    g, sr, metrics = lowered.out_info
    assert sr.shape == (2, 2, 128, 128, 3)
    assert set(metrics) == {"l_g_pix", "l_g_percep", "l_g_gan", "grad_norm_g"}
    assert jax.tree.map(lambda x: x.shape, g.params) == jax.tree.map(lambda x: x.shape, states["g"].params)
    sr = jax.ShapeDtypeStruct(sr.shape, sr.dtype)
    _, metrics = (
        make_discriminator_step(discriminator, optimizer, devices=devices)
        .lower(states["d"], sr, batch)
        .out_info
    )
    assert set(metrics) == {"l_d_real", "l_d_fake", "out_d_real", "out_d_fake", "grad_norm_d"}
    pixel_step = make_pixel_step(generator, optimizer, devices=devices)
    assert set(pixel_step.lower(states["g"], batch).out_info[1]) == {"l_g_pix", "grad_norm_g"}
    # Less than one of VGG19's kernels, which have 9.4 MB.
    assert sum(x.nbytes for x in jax.live_arrays()) - before < 1e6


def test_a_discriminator_without_its_axis_name():
    discriminator = VGGStyleDiscriminator(num_feat=2)
    recipe = GanRecipe(SMALL, discriminator, OPTIMIZER, OPTIMIZER)
    with pytest.raises(
        ValueError, match=r"`axis_name` \(=None\) of VGGStyleDiscriminator must be 'batch'.* 2 dev"
    ):
        recipe.build(jax.local_devices()[:2])
    recipe.build(jax.local_devices()[:1])
    GanRecipe(SMALL, discriminator, OPTIMIZER, OPTIMIZER, sync=False).build(jax.local_devices()[:2])


def test_recipes_are_data():
    recipe, same = (PixelRecipe(SMALL, Optimizer(multistep_schedule(1e-4, [50_000]))) for _ in range(2))
    assert recipe == same
    assert recipe != PixelRecipe(SMALL, Optimizer(multistep_schedule(2e-4, [50_000])))
    assert "milestones=(50000,)" in repr(recipe)
    assert recipe.rates(1) == {"lr": pytest.approx(1e-4)}
    assert recipe.rates(50_001) == {"lr": pytest.approx(5e-5)}


# A preparation in front of the steps.


def add_noise(batch, keys):
    """A third array beside the two, and other LR pictures: each sample draws its own."""
    hr = batch["hr"].astype(jnp.float32) / 255
    strength = jax.vmap(lambda key: jax.random.uniform(key, (), maxval=0.1))(keys)
    noise = jax.vmap(lambda key, like: jax.random.normal(key, like.shape))(keys, hr)
    lr = hr[:, ::4, ::4] + strength[:, None, None, None] * noise[:, ::4, ::4]
    return {"lr": lr, "hr": hr, "hr_usm": (1.2 * hr - 0.1).clip(0, 1)}


def numbered_batches(count, batch_size=4, patches=0, **options):
    data = make_train_iterator(
        SampleSource("train", 4),
        scale=4,
        gt_size=32,
        seed=3,
        batch_size=batch_size,
        number_patches=True,
        **options,
    )
    if patches:
        data.set_state(state_at(patches, options.get("process_count", 1)))
    batches = [next(data) for _ in range(count)]
    data.close()
    return batches


def test_every_patch_has_its_number_in_the_run():
    whole = numbered_batches(4)
    assert np.concatenate([batch["patch"] for batch in whole]).tolist() == list(range(16))
    assert whole[0]["patch"].dtype == np.uint32
    # After a resume with another batch size, and in each of two processes.
    for again, expected in zip(numbered_batches(2, 2, patches=4), (4, 6), strict=True):
        assert again["patch"].tolist() == [expected, expected + 1]
        np.testing.assert_array_equal(again["hr"], whole[1]["hr"][expected - 4 : expected - 2])
    for process in range(2):
        (batch,) = numbered_batches(1, process_index=process, process_count=2)
        assert batch["patch"].tolist() == [process, process + 2]


def test_a_sample_is_prepared_alike_on_any_devices():
    (batch,) = numbered_batches(1, 8)
    prepared = []
    for count in (1, 2, 4):
        devices = jax.local_devices()[:count]
        step = make_prepare_step(add_noise, seed=7, devices=devices)
        result = jax.device_get(step(parallel.shard(batch, devices)))
        assert set(result) == {"lr", "hr", "hr_usm"}
        prepared.append({name: x.reshape(8, *x.shape[2:]) for name, x in result.items()})
    for other in prepared[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, prepared[0])
    noise = prepared[0]["lr"] - prepared[0]["hr"][:, ::4, ::4]
    assert len({float(abs(x).max()) for x in noise}) == 8  # no two samples drew the same
    devices = jax.local_devices()[:1]
    later = make_prepare_step(add_noise, seed=7, devices=devices)(
        parallel.shard({name: x[5:6] for name, x in batch.items()}, devices)
    )
    np.testing.assert_array_equal(later["lr"][0], prepared[0]["lr"][5:6])


def iterate_once(recipe, batch, devices):
    states = parallel.replicate(
        recipe.initial_states(0, random_variables(recipe.generator)["params"]), devices
    )
    return jax.device_get(recipe.build(devices, 7)(states, parallel.shard(batch, devices), 1))


def test_a_recipe_with_a_preparation():
    devices = jax.local_devices()[:2]
    (batch,) = numbered_batches(1, 4)
    plain = {name: batch[name] for name in ("lr", "hr")}
    expected = iterate_once(PixelRecipe(SMALL, OPTIMIZER), plain, devices)
    found = iterate_once(PixelRecipe(SMALL, OPTIMIZER, prepare=lambda batch, keys: batch), batch, devices)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    on_hr, on_usm = (
        iterate_once(PixelRecipe(SMALL, OPTIMIZER, prepare=add_noise, pixel_target=target), batch, devices)[1]
        for target in ("hr", "hr_usm")
    )
    assert on_hr["l_g_pix"] != on_usm["l_g_pix"]
    assert on_hr["l_g_pix"] != expected[1]["l_g_pix"]
