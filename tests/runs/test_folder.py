"""Run folders: which stage is the newest, with what they were made, and the generator in them."""

import json
import shutil

import jax
import numpy as np
import pytest
from helpers.saved import assert_equal, make_states, write

from esrgan_jax.errors import CheckpointError, ConfigError
from esrgan_jax.runs import checkpoint
from esrgan_jax.runs.folder import load_generator, newest_stage, read_config, write_config, write_generator


def test_newest_stage(tmp_path):
    assert newest_stage(tmp_path) is None
    assert newest_stage(tmp_path / "missing") is None
    (tmp_path / "checkpoints/gan").mkdir(parents=True)
    write(tmp_path, 1)
    assert newest_stage(tmp_path) == "psnr"
    write(tmp_path, 1, "gan")
    assert newest_stage(tmp_path) == "gan"
    assert newest_stage(tmp_path, ["psnr"]) == "psnr"


def test_generator_of_a_run_folder(tmp_path):
    """Parameters and EMA alone, of the newest iteration of the last stage, or of the checkpoint that is named."""
    for stage, iterations in (("psnr", (9, 100)), ("gan", (2, 10))):
        for iteration in iterations:
            write(tmp_path, iteration, stage)
    for folder, seed in ((tmp_path, 10), (tmp_path / "checkpoints/psnr/9", 9)):
        expected = make_states(seed)["g"]
        found = load_generator(folder)
        assert_equal(found, (expected.params, expected.ema))
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))
    assert read_config(tmp_path / "checkpoints/psnr/9")["scale"] == 4


def test_damaged_generator(tmp_path):
    for iteration in (1, 2):
        folder = write(tmp_path, iteration)
    shutil.rmtree(folder / "state/d")
    with pytest.raises(CheckpointError, match=rf"{folder}/state/d/\w+ is missing: give another .*psnr/1\)"):
        load_generator(tmp_path)


def test_checkpoint_that_a_training_deletes_while_it_is_read(tmp_path, monkeypatch):
    """The next one is whole; only where each of them goes, it is said."""
    for iteration in (1, 2, 3):
        write(tmp_path, iteration)
    read = checkpoint.read_arrays

    def read_and_lose(folder, shapes):
        if folder.name in lost:
            shutil.rmtree(folder)
        return read(folder, shapes)

    monkeypatch.setattr(checkpoint, "read_arrays", read_and_lose)
    lost = ("3", "2")
    expected = make_states(1)["g"]
    assert_equal(load_generator(tmp_path), (expected.params, expected.ema))
    lost = ("1",)
    with pytest.raises(ConfigError, match=f"{tmp_path} holds no checkpoint"):
        load_generator(tmp_path)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_folder_without_a_checkpoint(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=f"{tmp_path / name} holds no checkpoint"):
        load_generator(tmp_path / name)


def test_config_file(tmp_path):
    assert read_config(tmp_path) is None
    config = {"seed": 1, "psnr": {"betas": (0.9, 0.99), "none": None}}
    write_config(tmp_path, config)
    assert read_config(tmp_path) == json.loads(json.dumps(config))
    (tmp_path / "config.json").write_text('{"seed"')
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        read_config(tmp_path)


def test_run_folder_of_a_generator_alone(tmp_path):
    params = make_states(5)["g"].params
    write_generator(tmp_path / "run", {"scale": 2}, params, params)
    assert_equal(load_generator(tmp_path / "run")[1], params)
    assert read_config(tmp_path / "run") == {"scale": 2}
    with pytest.raises(ConfigError, match="exists: choose a new name"):
        write_generator(tmp_path / "run", {}, params, params)
