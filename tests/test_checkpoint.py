"""Arrays come back exactly, damage is found in every file, and only whole checkpoints count."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrgan_jax import checkpoint
from esrgan_jax.checkpoint import Best, DamagedError, Progress
from esrgan_jax.errors import CheckpointError, ConfigError
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
    folder = checkpoint.stage_folder(run_folder, stage) / str(iteration)
    states = make_states(iteration if seed is None else seed)
    checkpoint.write(folder, states, Progress(iteration, **progress), {"scale": 4, "betas": (0.9, 0.99)})
    return folder


def test_states_and_progress_come_back(tmp_path):
    progress = {"patches": 28, "evaluated": False, "best": Best("psnr_y", 31.5, 5)}
    folder = write(tmp_path, 7, **progress)
    states, found = checkpoint.read(folder, jax.eval_shape(lambda: make_states(0)))
    assert_equal(states, make_states(7))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(states))
    assert found == Progress(7, **progress)
    assert [path.name for path in folder.parent.iterdir()] == ["7"]


def test_record_says_what_made_it(tmp_path):
    record = checkpoint.read_record(write(tmp_path, 7))
    assert record["config"] == {"scale": 4, "betas": [0.9, 0.99]}
    assert record["versions"]["jax"] == jax.__version__
    assert record["versions"].keys() >= {"flax", "optax", "orbax-checkpoint", "esrgan-jax"}
    assert record["arrays"]["g/params/body/weight"] == ["float32", [2, 3]]


def damages(path):
    """A file with each kind of damage in turn, and whole again."""
    whole = path.read_bytes()
    places = {len(whole) * tenth // 10 for tenth in range(10)} | {len(whole) - 1} if whole else ()
    path.unlink()
    yield "deleted"
    for name, data in {
        "emptied": b"",
        "cut": whole[:-1],
        "longer": whole + b"\0",
        **{f"byte {at}": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in places},
    }.items():
        if data != whole:
            path.write_bytes(data)
            yield name
    path.write_bytes(whole)


def test_damage_of_any_file_is_found(tmp_path):
    folder = write(tmp_path, 3)
    shapes, record = make_states(), checkpoint.read_record(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        for damage in damages(path):
            try:
                with pytest.raises(DamagedError) as caught:
                    checkpoint.read(folder, shapes)
            except BaseException:
                # What changes no word of the record does no harm.
                assert path.name == "record.json", (path, damage)
                assert checkpoint.read_record(folder) == record
                assert_equal(checkpoint.read(folder, shapes)[0], make_states(3))
            else:
                assert str(path) in str(caught.value)
    assert_equal(checkpoint.read(folder, shapes)[0], make_states(3))


@pytest.mark.parametrize("change", ["shape", "structure", "dtype"])
def test_other_states_are_refused(tmp_path, change):
    others = {
        "shape": lambda: make_states(features=4),
        "structure": lambda: make_states() | {"d": np.float32(0)},
        "dtype": lambda: jax.tree.map(lambda x: np.asarray(x, np.float64), make_states()),
    }
    folder = write(tmp_path, 1)
    with pytest.raises(ConfigError, match=r"checkpoints/psnr/1 holds other networks or optimizers"):
        checkpoint.read(folder, others[change]())


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no record today")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "atomic_write", fail)
        with pytest.raises(OSError, match="no record today"):
            write(tmp_path, 4)
    assert list((tmp_path / "checkpoints/psnr").iterdir()) == []
    write(tmp_path, 4)
    assert checkpoint.iterations(tmp_path, "psnr") == [4]


def test_newest_stage(tmp_path):
    assert checkpoint.newest_stage(tmp_path) is None
    assert checkpoint.newest_stage(tmp_path / "missing") is None
    (tmp_path / "checkpoints/gan").mkdir(parents=True)
    write(tmp_path, 1)
    assert checkpoint.newest_stage(tmp_path) == "psnr"
    write(tmp_path, 1, "gan")
    assert checkpoint.newest_stage(tmp_path) == "gan"
    assert checkpoint.newest_stage(tmp_path, ["psnr"]) == "psnr"


def test_generator_of_a_run_folder(tmp_path):
    """Parameters and EMA alone, of the newest iteration of the last stage, or of the checkpoint that is named."""
    for stage, iterations in (("psnr", (9, 100)), ("gan", (2, 10))):
        for iteration in iterations:
            write(tmp_path, iteration, stage)
    for folder, seed in ((tmp_path, 10), (tmp_path / "checkpoints/psnr/9", 9)):
        expected = make_states(seed)["g"]
        found = checkpoint.load_generator(folder)
        assert_equal(found, (expected.params, expected.ema))
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))
    assert checkpoint.read_config(tmp_path / "checkpoints/psnr/9")["scale"] == 4


def test_damaged_generator(tmp_path):
    for iteration in (1, 2):
        folder = write(tmp_path, iteration)
    shutil.rmtree(folder / "state/d")
    with pytest.raises(CheckpointError, match=rf"{folder}/state/d/\w+ is missing: give another .*psnr/1\)"):
        checkpoint.load_generator(tmp_path)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_folder_without_a_checkpoint(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=f"{tmp_path / name} holds no checkpoint"):
        checkpoint.load_generator(tmp_path / name)


def test_config_file(tmp_path):
    assert checkpoint.read_config(tmp_path) is None
    config = {"seed": 1, "psnr": {"betas": (0.9, 0.99), "none": None}}
    checkpoint.write_config(tmp_path, config)
    assert checkpoint.read_config(tmp_path) == json.loads(json.dumps(config))
    (tmp_path / "config.json").write_text('{"seed"')
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        checkpoint.read_config(tmp_path)


def test_run_folder_of_a_generator_alone(tmp_path):
    params = make_states(5)["g"].params
    checkpoint.write_generator(tmp_path / "run", {"scale": 2}, params, params)
    assert_equal(checkpoint.load_generator(tmp_path / "run")[1], params)
    assert checkpoint.read_config(tmp_path / "run") == {"scale": 2}
    with pytest.raises(ConfigError, match="exists: choose a new name"):
        checkpoint.write_generator(tmp_path / "run", {}, params, params)
