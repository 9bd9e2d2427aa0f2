"""The same numbers on any number of devices and processes; accumulation; the per-device form."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.variables import random_variables

from esrgan_jax.models import RRDBNet, VGGStyleDiscriminator
from esrgan_jax.system import parallel
from esrgan_jax.system.devices import start_cpu_devices
from esrgan_jax.training.optimizers import Optimizer
from esrgan_jax.training.recipe import GanRecipe, PixelRecipe

ITERATIONS = 10


def batches():
    rng = np.random.default_rng(0)
    for _ in range(ITERATIONS):
        yield {"lr": rng.random((8, 32, 32, 3)), "hr": rng.random((8, 128, 128, 3))}


def gan_losses(devices=None, sync=True, dtype="float64", part=slice(None)):
    """Losses of ten GAN iterations, D's running statistics, and G's parameters, float64."""
    generator = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2, param_dtype=dtype)
    axis_name = parallel.AXIS if sync else None
    discriminator = VGGStyleDiscriminator(num_feat=2, axis_name=axis_name, param_dtype=dtype)
    optimizer = Optimizer(lambda finished: 1e-4)
    stage = GanRecipe(
        generator,
        discriminator,
        optimizer,
        optimizer,
        pixel_weight=1e-2,
        perceptual=None,
        gan_weight=5e-3,
        ema_decay=0.999,
        sync=sync,
    )
    params = random_variables(generator, 1, dtype)["params"]
    states = stage.initial_states(0, params, None, random_variables(discriminator, 2, dtype))
    states, iterate = parallel.replicate(states, devices), stage.build(devices)
    logs = []
    for k, batch in enumerate(batches(), 1):
        local = {name: array[part] for name, array in batch.items()}
        states, log = iterate(states, parallel.shard(local, devices), k)
        logs.append({name: float(value) for name, value in log.items()})
    return logs, states


def assert_same(logs, reference):
    for k, (mine, other) in enumerate(zip(logs, reference, strict=True), 1):
        assert mine.keys() == other.keys()
        for name, value in mine.items():
            # Rounding grows from iteration to iteration.
            assert value == pytest.approx(other[name], rel=1e-10 if k <= 5 else 1e-8), (
                f"{name}, iteration {k}"
            )


@pytest.fixture(scope="module")
def one_device():
    with jax.enable_x64(True):
        return gan_losses(jax.local_devices()[:1])


@pytest.mark.parametrize("count", [2, 4, 8])
def test_any_number_of_devices(count, one_device):
    with jax.enable_x64(True):
        logs, states = gan_losses(jax.local_devices()[:count])
    assert_same(logs, one_device[0])
    assert int(states["d"].model_state["batch_stats"]["bn0_1"]["num_batches_tracked"]) == 5 * ITERATIONS
    for leaf, other in zip(jax.tree.leaves(states), jax.tree.leaves(one_device[1]), strict=True):
        for shard in leaf.addressable_shards:
            np.testing.assert_array_equal(shard.data, leaf.addressable_shards[0].data)
        np.testing.assert_allclose(leaf, other, rtol=0, atol=1e-8)


def test_two_processes_of_four_devices(one_device):
    """Real processes, real `jax.distributed`; each sees half of every batch."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))}
    with contextlib.ExitStack() as running:
        workers = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, address, str(rank)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
            for rank in range(2)
        ]
        for worker in workers:
            running.callback(worker.kill)
        for worker in workers:
            out, err = worker.communicate(timeout=300)
            assert worker.returncode == 0, err
            assert_same(json.loads(out.splitlines()[-1]), one_device[0])


def test_without_sync_devices_differ(one_device):
    """DDP's form: statistics and means are each device's own, so the numbers depend on the device count."""
    with jax.enable_x64(True):
        logs, states = gan_losses(jax.local_devices()[:2], sync=False)
    assert logs[0]["l_g_pix"] == pytest.approx(one_device[0][0]["l_g_pix"], rel=1e-10)
    assert abs(logs[0]["out_d_real"] - one_device[0][0]["out_d_real"]) > 1e-6
    for leaf in jax.tree.leaves(states):
        np.testing.assert_array_equal(leaf.addressable_shards[0].data, leaf.addressable_shards[1].data)


def pixel_losses(accumulate, device_count=2):
    generator = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2, param_dtype="float64")
    devices = jax.local_devices()[:device_count]
    stage = PixelRecipe(
        generator,
        Optimizer(lambda finished: 1e-3),
        pixel_weight=1.0,
        ema_decay=0.9,
        accumulate=accumulate,
    )
    params = random_variables(generator, 1, "float64")["params"]
    states, iterate = parallel.replicate(stage.initial_states(0, params), devices), stage.build(devices)
    logs = []
    for k, batch in enumerate(batches(), 1):
        states, log = iterate(states, parallel.shard(batch, devices), k)
        logs.append(float(log["l_g_pix"]))
    return logs, states


def test_accumulation_changes_nothing():
    with jax.enable_x64(True):
        (logs, states), (reference, other) = pixel_losses(4), pixel_losses(1)
    assert logs == pytest.approx(reference, rel=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-9), states, other)


if __name__ == "__main__":  # one of the two processes
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    start_cpu_devices(4)
    jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
    assert jax.device_count() == 8
    own = slice(int(sys.argv[2]), None, 2)  # as the data pipeline shares out: every second sample
    print(json.dumps(gan_losses(part=own)[0]))
