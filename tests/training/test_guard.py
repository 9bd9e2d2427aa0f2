"""Batches and weights that make losses or gradients infinite: nothing of them stays, and in the end the run stops."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.variables import random_variables
from PIL import Image

from configs import quickstart
from esrgan_jax.data.pipeline import make_train_iterator, state_at
from esrgan_jax.data.sources import open_pairs
from esrgan_jax.errors import DivergedError
from esrgan_jax.models import RRDBNet, VGGStyleDiscriminator
from esrgan_jax.runs.folder import iterations, load_generator
from esrgan_jax.system import parallel
from esrgan_jax.training.feed import build_data
from esrgan_jax.training.loop import train_and_evaluate
from esrgan_jax.training.optimizers import Optimizer
from esrgan_jax.training.recipe import GanRecipe, PixelRecipe

ROOT = Path(__file__).parents[2]
GENERATOR = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2)
DISCRIMINATOR = VGGStyleDiscriminator(num_feat=2, axis_name=parallel.AXIS)


def make_stage(kind, devices, **fields):
    """The iteration of a stage with constant learning rates, and its states on the devices."""
    optimizer = Optimizer(lambda finished: 1e-3)
    common = {"pixel_weight": 1.0, "ema_decay": 0.9} | fields
    params = random_variables(GENERATOR, 1)["params"]
    if kind == "psnr":
        stage = PixelRecipe(GENERATOR, optimizer, **common)
        return stage.build(devices), parallel.replicate(stage.initial_states(0, params), devices)
    stage = GanRecipe(
        GENERATOR, DISCRIMINATOR, optimizer, optimizer, perceptual=None, gan_weight=5e-3, **common
    )
    states = stage.initial_states(0, params, None, random_variables(DISCRIMINATOR, 2))
    return stage.build(devices), parallel.replicate(states, devices)


def make_batch(number, size=128, bad=None, value=np.nan):
    """Eight pairs of noise; one channel of the last picture of `bad` (lr or hr) is not a number."""
    rng = np.random.default_rng(number)
    batch = {
        "lr": rng.random((8, size // 4, size // 4, 3), np.float32),
        "hr": rng.random((8, size, size, 3), np.float32),
    }
    if bad is not None:
        batch[bad][-1, 0, 0, 0] = value
    return batch


def iterate(iterate_once, states, batches, devices):
    logs = []
    for k, batch in enumerate(batches, 1):
        states, log = iterate_once(states, parallel.shard(batch, devices), k)
        logs.append({name: float(value) for name, value in log.items()})
    return states, logs


def numbers(skipped):
    return int(skipped.total), int(skipped.in_a_row), int(skipped.last)


def assert_same_but_for_counters(states, expected):
    assert states.keys() == expected.keys()
    for name, state in states.items():
        other = expected[name]
        mine, theirs = (s.replace(finished=0, skipped=0) for s in (state, other))
        for (path, leaf), wanted in zip(
            jax.tree_util.tree_leaves_with_path(mine), jax.tree.leaves(theirs), strict=True
        ):
            np.testing.assert_array_equal(leaf, wanted, err_msg=name + jax.tree_util.keystr(path))


def assert_replicas_equal(states):
    for leaf in jax.tree.leaves(states):
        for shard in leaf.addressable_shards:
            np.testing.assert_array_equal(shard.data, leaf.addressable_shards[0].data)


@pytest.mark.parametrize("count", [2, 8])
def test_gan_iteration_that_is_left_out(count):
    """The bad picture is on the last device alone."""
    devices = jax.local_devices()[:count]
    iterate_once, states = make_stage("gan", devices)
    good = [make_batch(number) for number in range(3)]
    bad_lr, bad_hr = make_batch(7, bad="lr"), make_batch(8, bad="hr", value=np.inf)
    states, logs = iterate(iterate_once, states, [good[0], bad_lr, good[1], bad_hr, good[2]], devices)
    assert_replicas_equal(states)
    for state in states.values():
        assert int(state.finished) == 5
        assert numbers(state.skipped) == (2, 0, 4)
    assert int(states["d"].model_state["batch_stats"]["bn0_1"]["num_batches_tracked"]) == 3 * 5
    for k, log in enumerate(logs, 1):
        assert np.isfinite(log["grad_norm_g"]) == np.isfinite(log["grad_norm_d"]) == (k not in (2, 4))
        assert np.isfinite(log["l_d_fake"]) == (k not in (2, 4))

    expected, other_logs = iterate(iterate_once, make_stage("gan", devices)[1], good, devices)
    assert numbers(expected["g"].skipped) == (0, 0, 0)
    assert [logs[0], logs[2], logs[4]] == other_logs
    assert_same_but_for_counters(states, expected)


def test_pixel_iterations_in_a_row():
    """One part of an accumulated gradient is bad; a picture may also be too large, and its square infinite."""
    devices = jax.local_devices()[:2]
    iterate_once, states = make_stage("psnr", devices, accumulate=2)
    good = [make_batch(number, 32) for number in range(2)]
    bad = [make_batch(9, 32, "hr"), make_batch(9, 32, "lr", 1e25), make_batch(9, 32, "lr", -np.inf)]
    seen = []
    for k, batch in enumerate([bad[0], good[0], bad[1], bad[2], good[1], bad[0]], 1):
        states, _ = iterate_once(states, parallel.shard(batch, devices), k)
        seen.append(numbers(states["g"].skipped))
    assert seen == [(1, 1, 1), (1, 0, 1), (2, 1, 3), (3, 2, 4), (3, 0, 4), (4, 1, 6)]
    assert_replicas_equal(states)
    expected, _ = iterate(iterate_once, make_stage("psnr", devices, accumulate=2)[1], good, devices)
    assert_same_but_for_counters(states, expected)


def test_generator_alone_is_bad():
    """Its gradient overflows while sr is sound: the discriminator goes on."""
    devices = jax.local_devices()[:1]
    iterate_once, states = make_stage("gan", devices, pixel_weight=1e30)
    before = jax.device_get(states)
    states, (log,) = iterate(iterate_once, states, [make_batch(0)], devices)
    assert np.isfinite(log["l_g_pix"])
    assert not np.isfinite(log["grad_norm_g"])
    assert numbers(states["g"].skipped) == (1, 1, 1)
    assert_same_but_for_counters({"g": states["g"]}, {"g": before["g"]})
    assert numbers(states["d"].skipped) == (0, 0, 0)
    assert int(states["d"].model_state["batch_stats"]["bn0_1"]["num_batches_tracked"]) == 5
    assert not np.array_equal(
        states["d"].params["linear2"]["weight"], before["d"].params["linear2"]["weight"]
    )


def test_generator_rests_in_a_bad_iteration():
    devices = jax.local_devices()[:1]
    iterate_once, states = make_stage("gan", devices, net_d_iters=2)
    before = jax.device_get(states)
    states, _ = iterate(iterate_once, states, [make_batch(0, bad="lr")], devices)
    assert numbers(states["g"].skipped) == (0, 0, 0)
    np.testing.assert_array_equal(
        states["g"].params["conv_first"]["weight"], before["g"].params["conv_first"]["weight"]
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))
    assert numbers(states["d"].skipped) == (1, 1, 1)
    assert_same_but_for_counters({"d": states["d"]}, {"d": before["d"]})


# A whole run.


def write_picture(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:size, : size + 8]
    waves = [127 + 120 * np.sin(x / 5 + y / 9), 127 + 120 * np.cos(x / 13 - y / 4), (x + y) % 256]
    Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name, size in (
        ("train/a.png", 80),
        ("train/b.png", 92),
        ("train/c.png", 100),
        ("held_out/d.png", 32),
    ):
        write_picture(folder / name, size)
    return folder


@pytest.fixture
def config(images, tmp_path, monkeypatch):
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "home"))
    config = quickstart.get_config("psnr")
    config.network_g.update(num_feat=4, num_block=1, num_grow_ch=2)
    config.data.update(train=str(images / "train"), validation=str(images / "held_out"))
    config.psnr.update(steps=60, batch_size=4, gt_size=32)
    config.update(num_devices=2, log_every=10, evaluate_every=0, checkpoint_every=10, max_skipped=5)
    return config


def spoil(monkeypatch, bad):
    """Puts something that is no number into the batches of the iterations for which `bad` is true."""

    class Spoilt:
        def __init__(self, data, stage, patches):
            self._data = build_data(data, stage, patches)
            self._iteration = patches // stage.batch_size

        def __next__(self):
            self._iteration += 1
            batch = next(self._data)
            if not bad(self._iteration):
                return batch
            hr = batch["hr"].astype(np.float32) / 255
            hr[-1, 3, 4, 1] = np.nan
            return {"lr": batch["lr"], "hr": hr}

        def close(self):
            self._data.close()

    monkeypatch.setattr("esrgan_jax.training.loop.build_data", Spoilt)


def read_lines(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "lr" in line]


def test_one_bad_batch(config, tmp_path, monkeypatch):
    spoil(monkeypatch, lambda iteration: iteration == 37)
    train_and_evaluate(config, tmp_path / "run")
    lines = read_lines(tmp_path / "run")
    assert [line["skipped_g"] for line in lines] == [0, 0, 0, 1, 1, 1]
    assert all(np.isfinite(line["grad_norm_g"]) for line in lines)
    log = (tmp_path / "run/train.log").read_text()
    (warning,) = re.findall("warning .*", log)
    assert warning == (
        "warning   psnr 40: 1 update of the generator not applied, because a loss or gradient was not finite; "
        "last in iteration 37"
    )
    assert not list((tmp_path / "run").glob("nan_dump*"))


def test_bad_batches_for_ever(config, tmp_path, monkeypatch, images):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        spoil(patch, lambda iteration: iteration >= 37)
        with pytest.raises(DivergedError) as caught:
            train_and_evaluate(config, folder)
    assert caught.value.exit_code == 3
    sentence = str(caught.value)
    assert "\n" not in sentence
    for words in ("psnr stage stopped at iteration 50", "last 14 updates of the generator", "max_skipped=5"):
        assert words in sentence
    assert str(folder / "nan_dump_0000050.json") in sentence
    assert [line["skipped_g"] for line in read_lines(folder)] == [0, 0, 0, 4, 14]

    # The dump leads to the very pixels.
    dump = json.loads((folder / "nan_dump_0000050.json").read_text())
    assert (dump["stage"], dump["iteration"], dump["max_skipped"]) == ("psnr", 50, 5)
    assert dump["skipped"] == {"g": {"total": 14, "in_a_row": 14, "last": 50}}
    assert dump["metrics"].keys() == {"l_g_pix", "grad_norm_g"}
    assert dump["metrics"]["l_g_pix"] == "nan"  # while the gradient of |x| at what is no number is finite
    assert dump["batch"]["iteration"] == 50
    data = make_train_iterator(
        open_pairs(str(images / "train"), split="train", scale=4),
        scale=4,
        gt_size=32,
        batch_size=4,
        seed=0,
    )
    data.set_state(state_at(49 * 4))
    hr = next(data)["hr"]
    data.close()
    assert len(dump["batch"]["patches"]) == 4
    for patch, expected in zip(dump["batch"]["patches"], hr, strict=True):
        with Image.open(images / "train" / Path(patch["image"]).name) as picture:
            found = np.asarray(picture)[patch["y"] : patch["y"] + 32, patch["x"] : patch["x"] + 32]
        found = found[:, ::-1] if patch["flip_x"] else found
        found = found[::-1] if patch["flip_y"] else found
        found = found.swapaxes(0, 1) if patch["transpose"] else found
        np.testing.assert_array_equal(found, expected)

    # What is saved is sound, and goes on once the cause is gone.
    assert iterations(folder, "psnr")[-1] == 40
    params, ema = load_generator(folder)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((params, ema)))
    train_and_evaluate(config, folder)
    assert [line["skipped_g"] for line in read_lines(folder)] == [0, 0, 0, 4, 4, 4]
    assert (folder / "train.log").read_text().count("warning") == 2  # at 40 and at 50, both before


def test_zero_never_stops(config, tmp_path, monkeypatch):
    spoil(monkeypatch, lambda iteration: True)
    config.psnr.steps, config.max_skipped = 10, 0
    train_and_evaluate(config, tmp_path / "run")
    assert [line["skipped_g"] for line in read_lines(tmp_path / "run")] == [10]


def test_the_command(images, tmp_path):
    """A real overflow: gradients whose squares are too large for float32."""
    words = (
        f"--config={ROOT / 'configs/quickstart.py'}:psnr",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.train={images / 'train'}",
        f"--config.data.validation={images / 'held_out'}",
        "--config.network_g.num_feat=4",
        "--config.network_g.num_block=1",
        "--config.network_g.num_grow_ch=2",
        "--config.psnr.gt_size=32",
        "--config.psnr.steps=20",
        "--config.log_every=2",
        "--config.checkpoint_every=2",
        "--config.max_skipped=3",
    )

    def start(*more):
        return subprocess.run(
            [sys.executable, "train.py", *words, *more],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "ESRGAN_JAX_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=300,
        )

    done = start("--config.psnr.pixel_weight=1e30")
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("train.py: The psnr stage stopped at iteration 4")
    assert done.stderr.count("\n") == 1
    dump = json.loads((tmp_path / "run/nan_dump_0000004.json").read_text())
    assert dump["metrics"]["grad_norm_g"] == "inf"
    assert dump["metrics"]["l_g_pix"] > 1e25
    done = start("--config.psnr.pixel_weight=1", "--config.resume=force")
    assert done.returncode == 0, done.stderr
    assert "restore   psnr stage at iteration 2" in done.stdout
    assert "psnr      20/20: " in done.stdout
