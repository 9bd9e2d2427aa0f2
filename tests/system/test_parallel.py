"""States and batches on eight devices; the training steps there compile once and keep all copies equal."""

import os
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.variables import random_variables

from esrgan_jax.errors import ConfigError
from esrgan_jax.models import RRDBNet, VGGStyleDiscriminator
from esrgan_jax.models.layers import BatchNorm, Conv, Linear, leaky_relu
from esrgan_jax.system import parallel
from esrgan_jax.system.devices import (
    available_cores,
    choose_devices,
    count_compiles,
    device_count_for,
    start_cpu_devices,
)
from esrgan_jax.training.optimizers import Optimizer
from esrgan_jax.training.recipe import GanRecipe, PixelRecipe


def copies(x):
    return [np.asarray(shard.data) for shard in x.addressable_shards]


def test_virtual_devices_get_threads_to_wait_in(monkeypatch):
    assert jax.local_device_count() == 8  # JAX has started: only the environment changes below
    monkeypatch.delenv("NPROC")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    for _ in range(2):
        start_cpu_devices(3)
        assert os.environ["NPROC"] == str(available_cores() + 2)
        kept, ours = os.environ["XLA_FLAGS"].split()
        assert kept == "--xla_cpu_enable_fast_math=false"
        assert ours == "--xla_cpu_enable_concurrency_optimized_scheduler=false"


def test_virtual_devices_leave_the_users_choices(monkeypatch):
    chosen = "--xla_cpu_enable_concurrency_optimized_scheduler=true --xla_force_host_platform_device_count=8"
    monkeypatch.setenv("NPROC", "30")
    monkeypatch.setenv("XLA_FLAGS", chosen)
    start_cpu_devices(3)
    assert (os.environ["NPROC"], os.environ["XLA_FLAGS"]) == ("30", chosen)


def test_replicate_and_first_replica():
    tree = {"a": np.arange(6.0).reshape(2, 3), "b": np.int32(4)}
    replicated = parallel.replicate(tree)
    for name, value in tree.items():
        assert [copy.tolist() for copy in copies(replicated[name])] == [value.tolist()] * 8
        assert parallel.first_replica(replicated)[name].devices() == {jax.local_devices()[0]}
    some = parallel.replicate(tree, jax.local_devices()[2:4])
    assert some["a"].devices() == set(jax.local_devices()[2:4])


def test_replicated_trees_share_no_memory():
    """Donating a tree with two names for one buffer would abort the process."""
    x = jnp.ones(3)
    tree = parallel.replicate({"params": x, "ema": x})
    step = parallel.pmap(
        lambda s, _: jax.tree.map(lambda v: v + 1, s), in_axes=(None, 0), out_axes=None, donate_argnums=(0,)
    )
    after = step(tree, np.zeros(8))
    assert all(leaf.is_deleted() for leaf in tree.values())
    assert after["ema"].tolist() == [2, 2, 2]


def test_shard_cuts_in_order():
    batch = {"lr": np.arange(16).reshape(8, 2), "hr": np.arange(8)}
    cut = parallel.shard(batch, jax.local_devices()[:4])
    assert cut["lr"].shape == (4, 2, 2)
    np.testing.assert_array_equal(np.concatenate(cut["lr"]), batch["lr"])
    assert [copy.tolist() for copy in copies(cut["hr"])] == [[[0, 1]], [[2, 3]], [[4, 5]], [[6, 7]]]


def test_shard_refuses_what_does_not_divide():
    with pytest.raises(
        ConfigError, match=r"batch_size \(=6\) must be divisible .*devices \(=4\).*num_devices"
    ):
        parallel.shard({"lr": np.zeros((6, 1))}, jax.local_devices()[:4])


def test_means_are_over_everything():
    def function(x):
        return parallel.mean(x), parallel.all_reduce_mean({"x": x}), parallel.from_first_device(x)

    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    mean, tree, first = parallel.pmap(function, in_axes=0, out_axes=None)(x)
    np.testing.assert_allclose(mean, x.mean(), rtol=1e-6)
    np.testing.assert_allclose(tree["x"], x.mean(0), rtol=1e-6)
    np.testing.assert_array_equal(first, x[0])


def test_choose_devices():
    devices = jax.local_devices()
    assert choose_devices() == devices
    assert choose_devices(3) == devices[:3]
    for count in (0, -1, 9):
        with pytest.raises(ConfigError, match=rf"num_devices \(={count}\) must be 1 to 8"):
            choose_devices(count)


def test_cores_that_divide_every_batch(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert device_count_for([16, 4]) == 4
    assert device_count_for([12]) == 6
    assert device_count_for([9, 6]) == 3
    assert device_count_for([7, 4]) == 1
    assert device_count_for([]) == 6
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert device_count_for([16]) == 1


def test_chosen_number_of_devices_stays(monkeypatch):
    before = jax.config.jax_num_cpu_devices
    start_cpu_devices(3)  # the conftest has chosen 8
    assert jax.config.jax_num_cpu_devices == before == 8
    assert len(jax.local_devices()) == 8


def test_count_compiles():
    with count_compiles() as seen:
        jax.jit(lambda x: x * 3 + 1)(np.ones(5))
        assert seen["count"] == 1
        assert 0 < seen["seconds"] < 60
    jax.jit(lambda x: x * 5 + 1)(np.ones(5))
    assert seen["count"] == 1


# The steps themselves, on tiny networks.


def make_batch(number, size):
    rng = np.random.default_rng(number)
    hr = rng.integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    return {"lr": hr[:, ::4, ::4], "hr": hr}


class SmallDiscriminator(nn.Module):
    """One batch norm and one logit: all that couples the pictures of a batch, and little to compile."""

    axis_name: str = parallel.AXIS
    param_dtype: Any = jnp.float64
    example_shape = (1, 32, 32, 3)

    @nn.compact
    def __call__(self, x, train=True):
        x = Conv(4, param_dtype=self.param_dtype, name="conv")(x)
        x = BatchNorm(self.axis_name, param_dtype=self.param_dtype, name="bn")(x, True)
        return Linear(1, param_dtype=self.param_dtype, name="linear")(leaky_relu(x).mean((1, 2)))


def make_stage(name, devices, dtype=jnp.float32, discriminator=None):
    """The iteration of a stage, and its states, on `devices`."""
    generator = RRDBNet(4, num_feat=4, num_block=1, num_grow_ch=2, param_dtype=dtype)
    params = random_variables(generator, dtype=dtype)["params"]
    optimizer = Optimizer(lambda _: 1e-3)
    if name == "psnr":
        stage = PixelRecipe(generator, optimizer, pixel_weight=1.0, ema_decay=0.9)
        states = stage.initial_states(0, params)
    else:
        discriminator = discriminator or VGGStyleDiscriminator(num_feat=2, axis_name=parallel.AXIS)
        stage = GanRecipe(
            generator,
            discriminator,
            optimizer,
            Optimizer(lambda _: 1e-3),
            pixel_weight=1e-2,
            perceptual=None,
            gan_weight=5e-3,
            ema_decay=0.9,
        )
        states = stage.initial_states(0, params, d_variables=random_variables(discriminator, dtype=dtype))
    return stage.build(devices), parallel.replicate(states, devices)


@pytest.mark.parametrize("name, functions, size", [("psnr", 1, 32), ("gan", 2, 128)])
def test_five_iterations_on_eight_devices(name, functions, size):
    """Each step function compiles exactly once, and all copies of every state stay equal to the last bit."""
    devices = jax.local_devices()
    iterate_once, states = make_stage(name, devices)
    batches = [parallel.shard(make_batch(number, size), devices) for number in range(5)]
    with count_compiles() as seen:
        for iteration, batch in enumerate(batches, 1):
            states, _ = iterate_once(states, batch, iteration)
    assert seen["count"] == functions
    for path, leaf in jax.tree_util.tree_leaves_with_path(states):
        first, *others = copies(leaf)
        assert len(others) == 7
        for other in others:
            np.testing.assert_array_equal(other, first, err_msg=jax.tree_util.keystr(path), strict=True)
    assert all(state.finished == 5 for state in states.values())


def test_gan_iteration_is_the_same_on_one_two_and_eight_devices():
    """Relativistic means and batch statistics are the whole batch's, however many devices share it."""
    results = []
    with jax.enable_x64(True):
        for count in (1, 2, 8):
            devices = jax.local_devices()[:count]
            iterate_once, states = make_stage("gan", devices, jnp.float64, SmallDiscriminator())
            batch = parallel.shard(make_batch(0, 32), devices)
            results.append(jax.device_get(iterate_once(states, batch, 1)))
    one = results[0]
    losses = {"l_g_pix", "l_g_gan", "l_d_real", "l_d_fake", "out_d_real", "out_d_fake"}
    assert set(one[1]) == losses | {"grad_norm_g", "grad_norm_d"}
    for other in results[1:]:
        for name, loss in one[1].items():
            assert loss.dtype == np.float64
            np.testing.assert_allclose(other[1][name], loss, rtol=1e-10, atol=1e-10, err_msg=name)
        for a, b in zip(jax.tree.leaves(one[0]), jax.tree.leaves(other[0]), strict=True):
            np.testing.assert_allclose(b, a, rtol=0, atol=1e-8)
