"""The loop around the steps: what is carried over, saved, resumed and refused.

Iterations and the network's evaluation are replaced by a line of numpy each, so that nothing is compiled here;
tests/cli/test_train.py runs the real ones.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import time
from dataclasses import replace

import jax
import numpy as np
import pytest
from helpers.variables import random_variables
from PIL import Image

from configs import quickstart
from esrgan_jax.errors import CheckpointError, ConfigError, DataError, UserError
from esrgan_jax.metrics import METRICS, Metric
from esrgan_jax.runs import checkpoint, lock
from esrgan_jax.runs.folder import load_generator, newest_stage
from esrgan_jax.system import parallel
from esrgan_jax.training import feed, recipe, run, validation, writer
from esrgan_jax.training.loop import train_and_evaluate
from esrgan_jax.weights.load import load_generator_weights


def bump(states, iteration):
    """Every float moved by another amount, every counter by one."""
    leaves, structure = jax.tree.flatten(jax.device_get(states))
    moved = [
        leaf + 1 if leaf.dtype.kind == "i" else leaf + np.float32(iteration * (place + 1) * 1e-3)
        for place, leaf in enumerate(leaves)
    ]
    return parallel.replicate(jax.tree.unflatten(structure, moved), jax.local_devices()[:1])


class Nearest:
    """In the place of the network."""

    def __init__(self, module, params, **_):
        self.params = params

    def __call__(self, image, progress):
        progress(1, 1)
        return image.repeat(4, axis=0).repeat(4, axis=1)


SEEN: dict[str, list] = {"psnr": [], "gan": []}


@pytest.fixture(autouse=True, scope="module")
def no_networks(tmp_path_factory):
    """Puts numpy in the place of everything that compiles, and draws no curves."""

    def iterate(stage, states, batch, iteration):
        SEEN[stage.name].append((iteration, jax.device_get(states), jax.device_get(batch)))
        return bump(states, iteration), {"l_g_pix": np.float32(1 / iteration)}

    with pytest.MonkeyPatch.context() as patch:
        for stage in (recipe.PixelRecipe, recipe.GanRecipe):
            patch.setattr(stage, "build", lambda stage, *_: functools.partial(iterate, stage))
        patch.setattr(recipe, "initial_variables", lambda module, seed: random_variables(module))
        patch.setattr(run, "Upscaler", Nearest)
        patch.setattr(writer, "draw_curves", lambda *_: None)
        patch.setenv("ESRGAN_JAX_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def iterated():
    """What was iterated so far, {stage: [(iteration, states before it, batch)]}."""
    for calls in SEEN.values():
        calls.clear()
    return SEEN


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of three small pictures, and one held out."""
    folder = tmp_path_factory.mktemp("images")
    for name, size in (
        ("train/a.png", 128),
        ("train/b.png", 132),
        ("train/c.png", 140),
        ("held_out/d.png", 32),
    ):
        rng = np.random.default_rng(size)
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size + 8, 3), dtype=np.uint8)).save(folder / name)
    return folder


def make_config(images):
    """A tiny run of both stages on a folder."""
    config = quickstart.get_config()
    config.network_g.update(num_feat=4, num_block=1, num_grow_ch=2)
    config.network_d.num_feat = 2
    config.data.update(train=str(images / "train"), validation=str(images / "held_out"))
    config.psnr.update(steps=3, batch_size=2, gt_size=32)
    config.gan.update(steps=2, batch_size=2)
    config.update(num_devices=1, log_every=1, evaluate_every=2, checkpoint_every=0)
    return config


@pytest.fixture
def config(images):
    return make_config(images)


@pytest.fixture(scope="module")
def whole_run(images, tmp_path_factory):
    """An uninterrupted run: its configuration, its folder, what was iterated."""
    config = make_config(images)
    config.psnr.steps, config.gan.steps, config.checkpoint_every = 7, 5, 2
    folder = tmp_path_factory.mktemp("whole")
    for calls in SEEN.values():
        calls.clear()
    train_and_evaluate(config, folder)
    return config, folder, {name: list(calls) for name, calls in SEEN.items()}


def read_lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def read_log(folder):
    return (folder / "train.log").read_text()


def assert_equal(tree, other):
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def only(config, stage, init_from="scratch"):
    config = config.copy_and_resolve_references()
    config.stages = (stage,)
    config.init_from = str(init_from)
    return config


def last_states(iterated, stage):
    iteration, states, _ = iterated[stage][-1]
    return jax.device_get(bump(states, iteration))


def test_stages_follow_each_other(config, tmp_path, iterated):
    scores = train_and_evaluate(config, tmp_path / "run")
    assert [iteration for iteration, *_ in iterated["psnr"]] == [1, 2, 3]
    assert [iteration for iteration, *_ in iterated["gan"]] == [1, 2]
    lines = read_lines(tmp_path / "run")
    assert [(line["stage"], line["iteration"], "psnr_y" in line) for line in lines] == [
        ("psnr", 0, True),
        ("psnr", 1, False),
        ("psnr", 2, False),
        ("psnr", 2, True),
        ("psnr", 3, False),
        ("psnr", 3, True),
        ("gan", 0, True),
        ("gan", 1, False),
        ("gan", 2, False),
        ("gan", 2, True),
    ]
    assert {name: lines[0][name] for name in scores} == {name: lines[3][name] for name in scores}
    assert set(lines[1]) == {"stage", "iteration", "lr", "skipped_g", "l_g_pix"}
    assert set(lines[-2]) == {"stage", "iteration", "lr_g", "lr_d", "skipped_g", "skipped_d", "l_g_pix"}
    assert scores == {name: lines[-1][name] for name in ("psnr_y", "psnr_rgb", "ssim_y", "ssim_rgb")}


def test_what_crosses_from_stage_to_stage(config, tmp_path, iterated):
    train_and_evaluate(config, tmp_path)
    before = last_states(iterated, "psnr")["g"]
    (_, after, _), *_ = iterated["gan"]
    assert_equal(after["g"].params, before.params)
    assert_equal(after["g"].ema, before.ema)
    assert not np.array_equal(before.params["conv_first"]["weight"], before.ema["conv_first"]["weight"])
    assert any(leaf.any() for leaf in jax.tree.leaves(before.opt_state))
    for state in (after["g"], after["d"]):
        assert state.finished == 0
        assert not any(leaf.any() for leaf in jax.tree.leaves(state.opt_state))


def test_stages_see_different_patches(config, tmp_path, iterated):
    config.psnr.gt_size = 128
    train_and_evaluate(config, tmp_path)
    (_, _, psnr_batch), (_, _, gan_batch) = iterated["psnr"][0], iterated["gan"][0]
    assert psnr_batch["hr"].shape == gan_batch["hr"].shape == (1, 2, 128, 128, 3)
    assert not np.array_equal(psnr_batch["hr"], gan_batch["hr"])


def test_gan_stage_from_a_run_folder(config, tmp_path, iterated):
    train_and_evaluate(only(config, "psnr"), tmp_path / "psnr")
    before = last_states(iterated, "psnr")["g"]
    train_and_evaluate(only(config, "gan", tmp_path / "psnr"), tmp_path / "gan")
    (_, after, _), *_ = iterated["gan"]
    assert_equal(after["g"].params, before.params)
    assert_equal(after["g"].ema, before.ema)
    assert after["g"].finished == 0
    assert not any(leaf.any() for leaf in jax.tree.leaves(after["g"].opt_state))
    # Of a run with both stages it is the later one, and a folder serves its own next stage.
    later = last_states(iterated, "gan")["g"]
    train_and_evaluate(only(config, "psnr", tmp_path / "gan"), tmp_path / "again")
    assert_equal(iterated["psnr"][3][1]["g"].params, later.params)
    train_and_evaluate(only(config, "gan", tmp_path / "psnr"), tmp_path / "psnr")
    assert_equal(iterated["gan"][2][1]["g"].params, before.params)


def test_files_for_other_programs_and_from_them(config, tmp_path, iterated):
    """net_g and net_d at the end of each stage hold the last states, and a run can start from them."""
    train_and_evaluate(config, tmp_path / "run")
    psnr, gan = last_states(iterated, "psnr"), last_states(iterated, "gan")
    assert {path.name for path in (tmp_path / "run").glob("*.pth")} == {
        "net_g_3.pth",
        "net_g_2.pth",
        "net_d_2.pth",
    }

    again = only(config, "gan", tmp_path / "run/net_g_3.pth")
    again.init_from_d = str(tmp_path / "run/net_d_2.pth")
    train_and_evaluate(again, tmp_path / "again")
    start = iterated["gan"][2][1]
    assert_equal(start["g"].params, psnr["g"].params)
    assert_equal(start["g"].ema, psnr["g"].ema)
    assert_equal(start["d"].params, gan["d"].params)
    assert_equal(start["d"].model_state, gan["d"].model_state)

    again.param_key_g = "params_ema"
    train_and_evaluate(again, tmp_path / "from_ema")
    assert_equal(iterated["gan"][4][1]["g"].params, psnr["g"].ema)

    again.network_d.num_feat = 4
    with pytest.raises(ConfigError, match=r"num_feat is 2 in .*net_d_2\.pth and 4 in the config"):
        train_and_evaluate(again, tmp_path / "other")


def test_stages_that_end_at_the_same_iteration_keep_their_files_apart(config, tmp_path, iterated):
    config.psnr.steps = config.gan.steps
    train_and_evaluate(config, tmp_path)
    for name, stage in (("net_g_2_psnr.pth", "psnr"), ("net_g_2.pth", "gan")):
        _, params, _ = load_generator_weights(tmp_path / name)
        assert_equal(params, last_states(iterated, stage)["g"].params)


def test_empty_or_missing_run_folder(config, tmp_path, iterated):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(UserError, match=str(folder)):
            train_and_evaluate(only(config, "gan", folder), tmp_path / "gan")
    assert not iterated["gan"]


def test_run_folder_of_another_network(config, tmp_path, iterated):
    train_and_evaluate(only(config, "psnr"), tmp_path / "psnr")
    for name, value in (("num_feat", 6), ("num_block", 2), ("num_grow_ch", 3)):
        other = only(config, "gan", tmp_path / "psnr")
        other.network_g[name] = value
        with pytest.raises(ConfigError, match=rf"{tmp_path}/psnr.*network_g"):
            train_and_evaluate(other, tmp_path / name)


class StoppedError(Exception):
    """What the tests stop a run with."""


def stop_at(monkeypatch, stage, stop, error=StoppedError):
    """Lets `stage` fail in the iteration `stop`."""
    build = stage.build

    def failing(iterate, states, batch, iteration):
        if iteration == stop:
            raise error
        return iterate(states, batch, iteration)

    monkeypatch.setattr(stage, "build", lambda self, *_: functools.partial(failing, build(self)))


@pytest.mark.parametrize(
    "stage, stop, resumed, error",
    [
        ("PixelRecipe", 2, 1, StoppedError),
        ("PixelRecipe", 6, 5, KeyboardInterrupt),
        ("PixelRecipe", 7, 7, StoppedError),
        ("GanRecipe", 1, 1, StoppedError),
        ("GanRecipe", 4, 3, StoppedError),
    ],
)
def test_resumed_run_equals_an_uninterrupted_one(
    whole_run, tmp_path, iterated, monkeypatch, stage, stop, resumed, error
):
    config, folder, whole = whole_run
    iterated["psnr"].clear(), iterated["gan"].clear()
    with monkeypatch.context() as patch:
        stop_at(patch, getattr(recipe, stage), stop, error)
        with pytest.raises(error):
            train_and_evaluate(config, tmp_path)
    iterated["psnr"].clear(), iterated["gan"].clear()
    train_and_evaluate(config, tmp_path)
    name = getattr(recipe, stage).name
    assert iterated[name][0][0] == resumed
    for call, expected in zip(iterated[name], whole[name][resumed - 1 :], strict=True):
        assert_equal(call, expected)
    assert_equal(last_states(iterated, "gan"), last_states(whole, "gan"))
    for file in (
        "metrics.jsonl",
        "samples/psnr_0000000.png",
        "samples/psnr_0000006.png",
        "samples/gan_0000005.png",
    ):
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()


def test_finished_run_started_again(config, tmp_path, iterated):
    scores = train_and_evaluate(config, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    iterated["psnr"].clear(), iterated["gan"].clear()
    assert train_and_evaluate(config, tmp_path) == scores
    assert iterated == {"psnr": [], "gan": []}
    assert (tmp_path / "metrics.jsonl").read_text() == before
    assert "nothing was left to do" in read_log(tmp_path)


def test_finished_run_goes_on_with_more_steps(config, tmp_path, iterated):
    train_and_evaluate(config, tmp_path)
    end = last_states(iterated, "gan")
    config.gan.steps = 3
    train_and_evaluate(config, tmp_path)
    iteration, states, _ = iterated["gan"][-1]
    assert iteration == 3
    assert_equal(states, end)


def test_a_checkpoint_comes_before_init_from(config, tmp_path, iterated):
    """Where the run has its own states, the folder that it once began from may be gone."""
    train_and_evaluate(only(config, "psnr"), tmp_path / "psnr")
    train_and_evaluate(only(config, "gan", tmp_path / "psnr"), tmp_path / "gan")
    end = last_states(iterated, "gan")
    later = only(config, "gan", tmp_path / "gone")
    later.gan.steps = 3
    train_and_evaluate(later, tmp_path / "gan")
    assert_equal(iterated["gan"][-1][1], end)


def test_fields_that_change_the_numbers_may_not_change(config, tmp_path):
    train_and_evaluate(only(config, "psnr"), tmp_path)
    config.psnr.optim_g.lr = 3e-3
    config.network_g.num_feat = 6
    config.log_every = 7  # is free to change, and not named
    with pytest.raises(ConfigError) as caught:
        train_and_evaluate(only(config, "psnr"), tmp_path)
    text = str(caught.value)
    assert str(tmp_path) in text
    assert "network_g.num_feat (was 4, is 6)" in text
    assert "psnr.optim_g.lr (was 0.001, is 0.003)" in text
    assert "--workdir" in text
    assert "--config.resume=force" in text
    assert "log_every" not in text
    assert json.loads((tmp_path / "config.json").read_text())["network_g"]["num_feat"] == 4


def test_pictures_to_train_on_may_not_change(config, images, tmp_path):
    train_and_evaluate(only(config, "psnr"), tmp_path / "run")
    config.data.train = str(tmp_path / "fewer")
    shutil.copytree(images / "train", tmp_path / "fewer")
    (tmp_path / "fewer/b.png").unlink()
    change = "data.train (was 3 pictures, is 2: b.png is gone)"
    with pytest.raises(
        ConfigError, match=re.escape(f"{tmp_path / 'run'} holds a run on other pictures, {change}: ")
    ):
        train_and_evaluate(only(config, "psnr"), tmp_path / "run")
    config.resume, config.psnr.steps = "force", 4
    train_and_evaluate(only(config, "psnr"), tmp_path / "run")
    assert f"note      changed since the last start: {change}" in read_log(tmp_path / "run")
    # A later start that takes the configuration from there is not forced.
    assert json.loads((tmp_path / "run/config.json").read_text())["resume"] is None


def test_folder_that_another_training_takes_over(config, tmp_path, monkeypatch):
    """It stops before it writes anything more."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0)
    config.checkpoint_every = 1
    build = recipe.PixelRecipe.build

    def iterate(real, states, batch, iteration):
        if iteration == 2:
            (tmp_path / lock.LOCK_FILE).write_text("somebody else")
        return real(states, batch, iteration)

    monkeypatch.setattr(recipe.PixelRecipe, "build", lambda self, *_: functools.partial(iterate, build(self)))
    with pytest.raises(CheckpointError, match=f"{tmp_path} was taken over by another process"):
        train_and_evaluate(only(config, "psnr"), tmp_path)
    assert newest_stage(tmp_path) == "psnr"


def test_forced_to_go_on_with_other_numbers(config, tmp_path, iterated):
    train_and_evaluate(only(config, "psnr"), tmp_path)
    config.resume = "force"
    config.psnr.update(steps=6, batch_size=4)
    config.psnr.optim_g.lr = 3e-3
    train_and_evaluate(only(config, "psnr"), tmp_path)
    for field in (
        "psnr.batch_size (was 2, is 4)",
        "psnr.optim_g.lr (was 0.001, is 0.003)",
        "psnr.steps (was 3",
    ):
        assert f"note      changed since the last start: {field}" in read_log(tmp_path)
    config.resume = None  # what was forced once is the run's own from then on
    train_and_evaluate(only(config, "psnr"), tmp_path)
    # Six patches had been used, and the next one was the seventh, whatever the batches are.
    _, _, batch = iterated["psnr"][3]
    config.psnr.update(steps=5, batch_size=2)
    train_and_evaluate(only(config, "psnr"), tmp_path / "whole")
    small = [batch["hr"] for _, _, batch in iterated["psnr"][-2:]]
    np.testing.assert_array_equal(batch["hr"], np.concatenate(small, axis=1))

    config.psnr.update(steps=6, batch_size=4)
    config.resume = "force"
    config.network_g.num_feat = 6
    with pytest.raises(ConfigError, match=r"checkpoints/psnr/6 holds other networks or optimizers"):
        train_and_evaluate(only(config, "psnr"), tmp_path)


def test_more_steps_of_a_stage_that_is_over(config, tmp_path, iterated):
    train_and_evaluate(config, tmp_path)
    iterated["psnr"].clear()
    config.psnr.steps = 5
    train_and_evaluate(config, tmp_path)
    assert not iterated["psnr"]
    assert "psnr.steps (=5) is ignored: the GAN stage began after 3 iterations" in read_log(tmp_path)


def test_fields_that_may_change(config, tmp_path, iterated, images):
    train_and_evaluate(config, tmp_path)
    (tmp_path / "moved").symlink_to(images / "train")
    config.update(name="other", log_every=2, evaluate_every=0, checkpoint_every=3, max_to_keep=1)
    config.data.update(train=str(tmp_path / "moved"), validation="sample", num_threads=3)
    config.network_g.remat = True
    config.gan.steps = 4
    train_and_evaluate(config, tmp_path)
    assert [iteration for iteration, *_ in iterated["gan"]] == [1, 2, 3, 4]
    assert json.loads((tmp_path / "config.json").read_text())["name"] == "other"
    for field in (
        "log_every (was 1, is 2)",
        "gan.steps (was 2, is 4)",
        "network_g.remat (was False, is True)",
    ):
        assert f"note      changed since the last start: {field}" in read_log(tmp_path)


def test_field_that_the_run_did_not_have_yet(config, tmp_path, iterated):
    train_and_evaluate(only(config, "psnr"), tmp_path)
    path = tmp_path / "config.json"
    old = json.loads(path.read_text())
    del old["psnr"]["optim_g"]["betas"], old["keep_every"]
    path.write_text(json.dumps(old))
    train_and_evaluate(only(config, "psnr"), tmp_path)
    assert "nothing was left to do" in read_log(tmp_path)


def test_slow_data_is_noticed(config, tmp_path, monkeypatch):
    """Also how long: the devices have next to nothing to do here."""
    read = feed.make_train_iterator

    class Slow:
        def __init__(self, *args, **options):
            self._data = read(*args, **options)

        def __next__(self):
            time.sleep(0.3)
            return next(self._data)

        def close(self):
            self._data.close()

    config.psnr.steps = 6
    config.update(log_every=3, evaluate_every=0)
    monkeypatch.setattr(feed, "make_train_iterator", Slow)
    train_and_evaluate(only(config, "psnr"), tmp_path / "slow")
    share = re.findall(
        r"the devices waited for data (\d+)% of the time: prepare", read_log(tmp_path / "slow")
    )
    assert len(share) == 2
    assert 50 < int(share[1]) <= 100


def test_damaged_checkpoints(config, tmp_path, iterated):
    """The one before is used; where there is none, one sentence says what to do."""
    config.psnr.steps = 4
    config.checkpoint_every = 2
    train_and_evaluate(only(config, "psnr"), tmp_path)
    states = last_states(iterated, "psnr")
    folder = tmp_path / "checkpoints/psnr"
    (folder / "4/record.json").unlink()
    iterated["psnr"].clear()
    train_and_evaluate(only(config, "psnr"), tmp_path)
    assert [iteration for iteration, *_ in iterated["psnr"]] == [3, 4]
    assert_equal(last_states(iterated, "psnr"), states)
    warning = f"warning   {folder / '4/record.json'} is missing: going on from iteration 2 instead of 4"
    assert warning in read_log(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"2", "4", "4.damaged", "best"}

    for iteration in ("2", "4"):
        (folder / iteration / "record.json").write_text("{}")
    with pytest.raises(CheckpointError, match=rf"delete {folder} to begin the stage anew") as caught:
        train_and_evaluate(only(config, "psnr"), tmp_path)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


def test_a_mistake_does_not_bind_the_folder(config, tmp_path):
    """Whoever mends the configuration after an error is not told that the folder belongs to the broken one."""
    config.psnr.gt_size = 256
    with pytest.raises(DataError, match="too few for a training patch"):
        train_and_evaluate(only(config, "psnr"), tmp_path)
    config.psnr.gt_size = 32
    train_and_evaluate(only(config, "psnr"), tmp_path)


def test_run_of_another_configuration_stopped_before_its_first_checkpoint(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, recipe.PixelRecipe, 2)
        with pytest.raises(StoppedError):
            train_and_evaluate(config, tmp_path)
    config.seed = 1
    train_and_evaluate(only(config, "psnr"), tmp_path)
    assert [line["iteration"] for line in read_lines(tmp_path)] == [0, 1, 2, 2, 3, 3]


def test_intervals(config, tmp_path):
    config.psnr.steps = 7
    config.update(log_every=3, evaluate_every=0, checkpoint_every=0, max_to_keep=2)
    train_and_evaluate(only(config, "psnr"), tmp_path / "seldom")
    lines = read_lines(tmp_path / "seldom")
    assert [line["iteration"] for line in lines if "lr" in line] == [3, 6, 7]
    assert [line["iteration"] for line in lines if "psnr_y" in line] == [0, 7]
    assert {path.name for path in (tmp_path / "seldom/checkpoints/psnr").iterdir()} == {"7", "best"}
    config.update(log_every=0, evaluate_every=4, checkpoint_every=2, keep_best="none")
    train_and_evaluate(only(config, "psnr"), tmp_path / "often")
    lines = read_lines(tmp_path / "often")
    assert [line["iteration"] for line in lines if "lr" in line] == [7]
    assert [line["iteration"] for line in lines if "psnr_y" in line] == [0, 4, 7]
    assert {path.name for path in (tmp_path / "often/checkpoints/psnr").iterdir()} == {"6", "7"}


def test_checkpoints_that_stay(config, tmp_path, monkeypatch):
    """The newest, every fourth, and the best of those that can be saved, although none is due."""
    psnr = iter([99.0, 20.0, 30.0, 29.0, float("nan"), 30.0, 28.0, 27.0, 26.0, 25.0, 24.0])

    def evaluate(upscale, source, scale):
        for result in whole_evaluate(upscale, source, scale):
            yield replace(result, scores=result.scores | {"psnr_y": next(psnr)})

    whole_evaluate = validation.evaluate
    monkeypatch.setattr(validation, "evaluate", evaluate)
    config.psnr.steps = 10
    config.update(evaluate_every=1, checkpoint_every=4, max_to_keep=1, keep_every=4)
    train_and_evaluate(only(config, "psnr"), tmp_path)
    folder = tmp_path / "checkpoints/psnr"
    assert {path.name for path in folder.iterdir()} == {"2", "4", "8", "10", "best"}
    assert (folder / "best").resolve().name == "2"
    assert checkpoint.read_record(folder / "10")["best"] == {
        "metric": "psnr_y",
        "score": 30.0,
        "iteration": 2,
    }
    best, newest = load_generator(folder / "best")[0], load_generator(tmp_path)[0]
    assert not np.array_equal(best["conv_last"]["bias"], newest["conv_last"]["bias"])


def test_learning_rates_in_the_log(config, tmp_path):
    """The rate that the iteration used, not the next one's."""
    config.psnr.scheduler.update(type="multistep", milestones=(2,), gamma=0.5)
    train_and_evaluate(only(config, "psnr"), tmp_path)
    rates = [line["lr"] for line in read_lines(tmp_path) if "lr" in line]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4])


def write_picture(path, width=160, height=160):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


def bad_folder(case, folder):
    """A training folder (and one of LR images) with the mistake `case`; returns both and the sentence."""
    hr, lr = folder / "hr", None
    write_picture(hr / "good.png")
    if case == "missing":
        hr = folder / "nowhere"
        return hr, lr, f"The HR folder {hr} does not exist"
    if case == "empty":
        (hr / "good.png").unlink()
        return hr, lr, f"The HR folder {hr} holds no image"
    if case == "small":
        small = write_picture(hr / "small.png", 300, 31)
        return hr, lr, f"{small} has 300x31 pixels, too few for a training patch of 32x32"
    if case == "unreadable":
        (hr / "text.png").write_text("no picture")
        return hr, lr, f"{hr / 'text.png'} is a text file"
    lr = folder / "lr"
    if case == "sizes":
        bad = write_picture(lr / "good.png", 40, 41)
        return hr, lr, rf"{bad} \(40x41 pixels\) is not {hr / 'good.png'} \(160x160 pixels\) shrunk 4 times"
    if case == "partner":
        write_picture(lr / "other.png")
        return hr, lr, f"{hr / 'good.png'} has no LR image"
    raise ValueError(case)


@pytest.mark.parametrize("case", ["missing", "empty", "small", "unreadable", "sizes", "partner"])
def test_bad_training_folder(config, tmp_path, iterated, case):
    hr, lr, sentence = bad_folder(case, tmp_path)
    config.data.train, config.data.train_lr = str(hr), lr and str(lr)
    with pytest.raises(DataError, match=sentence):
        train_and_evaluate(only(config, "psnr"), tmp_path / "run")
    assert not iterated["psnr"]


@pytest.mark.parametrize("name", ["train", "validation"])
def test_sets_that_are_not_there_are_named_by_their_fields(config, tmp_path, name):
    (tmp_path / "empty").mkdir()
    for wrong in (
        tmp_path / "nowhere",
        tmp_path / "empty",
        f"split:{tmp_path / 'nowhere'}",
        f"sample,{tmp_path / 'empty'}",
        "tfds:nothing",
        "tfds:div2k/bicubic_x4",
    ):
        one = config.copy_and_resolve_references()
        one.data.update({name: str(wrong), "data_dir": str(tmp_path)})
        with pytest.raises(DataError, match=f"^data.{name}: "):
            train_and_evaluate(one, tmp_path / "run")
    config.data[f"{name}_lr"] = str(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=f"^data.{name} with data.{name}_lr: The LR folder .*/nowhere does not exist"
    ):
        train_and_evaluate(config, tmp_path / "run")


@pytest.mark.parametrize("name", ["train", "validation"])
def test_image_with_a_truncated_body(config, tmp_path, iterated, name):
    """Its header is sound, so that nobody knows before it is decoded."""
    folder = tmp_path / "pictures"
    bad = write_picture(folder / "bad.png")
    bad.write_bytes(bad.read_bytes()[:-5000])
    write_picture(folder / "good.png")
    config.data[name] = str(folder)
    with pytest.raises(DataError, match=f"{bad} is incomplete or damaged"):
        train_and_evaluate(only(config, "psnr"), tmp_path / "run")


def test_validation_folder_without_images(config, tmp_path):
    (tmp_path / "none").mkdir()
    config.data.validation = str(tmp_path / "none")
    with pytest.raises(DataError, match=f"The HR folder {tmp_path / 'none'} holds no image"):
        train_and_evaluate(only(config, "psnr"), tmp_path / "run")


def test_validation_image_too_small_to_be_scored(config, tmp_path):
    write_picture(tmp_path / "held_out/tiny.png", 16, 15)
    config.data.validation = str(tmp_path / "held_out")
    with pytest.raises(UserError, match=r"tiny\.png"):
        train_and_evaluate(only(config, "psnr"), tmp_path / "run")


def test_data_set_that_is_not_prepared(config, tmp_path):
    config.data.update(train="tfds:div2k/bicubic_x4", data_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"prepare it .*folder of HR images.*sample"):
        train_and_evaluate(only(config, "psnr"), tmp_path / "run")


def test_workdir_that_cannot_be_written(config, tmp_path):
    (tmp_path / "file").write_text("")
    for workdir in (tmp_path / "file", tmp_path / "file/run"):
        with pytest.raises(ConfigError, match=f"{workdir} cannot be written .*--workdir"):
            train_and_evaluate(config, workdir)


def test_workdir_with_a_damaged_config_file(config, tmp_path):
    train_and_evaluate(only(config, "psnr"), tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=rf"{tmp_path}/config\.json cannot be read"):
        train_and_evaluate(only(config, "psnr"), tmp_path)


def test_weights_file_that_does_not_exist(config, tmp_path):
    config.perceptual.perceptual_weight = 1.0
    config.perceptual.weights = str(tmp_path / "vgg.safetensors")
    with pytest.raises(UserError, match=r"vgg\.safetensors"):
        train_and_evaluate(config, tmp_path / "run")


def test_more_devices_than_there_are(config, tmp_path):
    config.num_devices = 9
    with pytest.raises(ConfigError, match=r"num_devices \(=9\) must be 1 to 8"):
        train_and_evaluate(config, tmp_path)


def test_every_open_file_is_closed(config, tmp_path):
    """Also where the run does not get far: pytest makes an error of a file that is left open."""
    config.data.train = str(tmp_path / "nowhere")
    with pytest.raises(DataError):
        train_and_evaluate(config, tmp_path / "run")
    assert "run       quickstart" in read_log(tmp_path / "run")


def test_model_card(config, tmp_path, iterated):
    scores = train_and_evaluate(config, tmp_path)
    card = tmp_path / "net_g_2.md"
    text = card.read_text()
    digest = hashlib.sha256((tmp_path / "net_g_2.pth").read_bytes()).hexdigest()
    for words in (
        "# quickstart: RRDBNet x4",
        digest,
        "esrgan-jax upscale photo.jpg -o large.png --model net_g_2.pth",
        f"3 pictures of `{config.data.train}` to train on, 1 of `{config.data.validation}`",
        "| psnr | 3 | 2 | 32 |",
        "| gan | 2 | 2 |",
        f"| PSNR RGB | {scores['psnr_rgb']:.2f} dB |",
        "**To fill in:** of the weights",
    ):
        assert words in text
    card.write_text(filled := text.replace("**To fill in:** of the weights", "CC0"))
    train_and_evaluate(config, tmp_path)
    assert card.read_text() == filled
    config.gan.steps = 3
    train_and_evaluate(config, tmp_path)
    assert "| gan | 3 | 2 |" in (tmp_path / "net_g_3.md").read_text()


def test_log_tells_of_phases_and_memory(config, tmp_path):
    train_and_evaluate(config, tmp_path)
    log = read_log(tmp_path)
    for words in (
        "data      ",
        "3 images to train on, 1 held out (bicubic: PSNR Y ",
        "no perceptual loss",
        "init      psnr stage",
        "compile   psnr stage: ",
        "first step: ",
        "psnr      3/3: l_g_pix 0.3333; ",
        "evaluate  psnr 0: EMA network ",
        "evaluate  psnr 3: EMA network ",
        "save      psnr stage",
        "init      gan stage",
        "peak memory ",
        "done      ",
    ):
        assert words in log
    last, command = log.splitlines()[-2:]
    assert last.endswith(f" model     {tmp_path / 'net_g_2.pth'}")
    assert command.endswith(
        f" next      esrgan-jax upscale {tmp_path / 'samples/lr.png'} --model {tmp_path / 'net_g_2.pth'} -o large.png"
    )
    assert newest_stage(tmp_path) == "gan"


def test_the_best_of_a_metric_that_is_better_when_smaller(config, tmp_path, monkeypatch):
    entry = Metric("error", lambda sr, hr, *, crop_border: next(errors), "", digits=2, larger_is_better=False)
    monkeypatch.setitem(METRICS, "error", entry)
    errors = iter([9.0, 9.0, 5.0, 2.0, 4.0, 3.0])  # of bicubic, before the first iteration, and after each
    config.psnr.steps = 4
    config.update(evaluate_every=1, checkpoint_every=1, max_to_keep=9, keep_best="error")
    train_and_evaluate(only(config, "psnr"), tmp_path)
    assert checkpoint.read_record(tmp_path / "checkpoints/psnr/best")["best"]["score"] == 2.0
