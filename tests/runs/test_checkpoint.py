"""Arrays come back exactly, damage is found in every file, and only whole checkpoints count."""

import tomllib
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.saved import assert_equal, make_states, write

from esrgan_jax.errors import ConfigError
from esrgan_jax.runs import checkpoint
from esrgan_jax.runs.checkpoint import Best, DamagedCheckpointError, StageProgress
from esrgan_jax.runs.folder import iterations


def test_states_and_progress_come_back(tmp_path):
    progress = {"patches": 28, "evaluated": False, "best": Best("psnr_y", 31.5, 5)}
    folder = write(tmp_path, 7, **progress)
    states, found = checkpoint.read(folder, jax.eval_shape(lambda: make_states(0)))
    assert_equal(states, make_states(7))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(states))
    assert found == StageProgress(7, **progress)
    assert [path.name for path in folder.parent.iterdir()] == ["7"]


def test_record_says_what_made_it(tmp_path):
    record = checkpoint.read_record(write(tmp_path, 7))
    assert record["config"] == {"scale": 4, "betas": [0.9, 0.99]}
    assert record["versions"]["jax"] == jax.__version__
    assert record["versions"].keys() >= {"flax", "optax", "orbax-checkpoint", "esrgan-jax"}
    assert record["arrays"]["g/params/body/weight"] == ["float32", [2, 3]]


def test_packages_that_are_not_installed(tmp_path, monkeypatch):
    """A checkout on PYTHONPATH has no metadata."""

    def fail(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(checkpoint, "version", fail)
    monkeypatch.setattr(metadata, "version", fail)
    versions = checkpoint.read_record(write(tmp_path, 7))["versions"]
    expected = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert versions == dict.fromkeys(checkpoint.PACKAGES) | {"esrgan-jax": expected}


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
                with pytest.raises(DamagedCheckpointError) as caught:
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
    assert iterations(tmp_path, "psnr") == [4]
