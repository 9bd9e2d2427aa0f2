"""What a stage saves while it goes on training: in the background, as many as wanted, never at the run's cost."""

import re

import jax
import numpy as np
import pytest
from helpers.disks import fill, small_disk
from helpers.saved import assert_equal, make_states, write

from esrgan_jax.errors import CheckpointError, ConfigError
from esrgan_jax.runs import checkpoint
from esrgan_jax.runs.checkpoint import Best, StageProgress
from esrgan_jax.runs.checkpointer import Checkpointer
from esrgan_jax.runs.folder import iterations
from esrgan_jax.system import parallel


@pytest.fixture
def open_checkpointer(tmp_path):
    """A checkpointer on the same folder; closed at the end."""
    opened = []

    def open_one(**options):
        opened.append(Checkpointer(tmp_path, "psnr", {}, **options))
        return opened[-1]

    yield open_one
    for checkpointer in opened:
        checkpointer.close()


def save(checkpointer, *iterations, best=None):
    for iteration in iterations:
        checkpointer.save(make_states(iteration), StageProgress(iteration, best=best))
    checkpointer.wait()


def names(tmp_path):
    return {path.name for path in (tmp_path / "checkpoints/psnr").iterdir()}


def no_warning(text):
    raise AssertionError(text)


def test_states_may_be_donated_at_once(open_checkpointer):
    states = parallel.replicate(make_states(1))
    step = parallel.pmap(
        lambda s, _: jax.tree.map(lambda x: x + 1, s), in_axes=(None, 0), out_axes=None, donate_argnums=(0,)
    )
    checkpointer = open_checkpointer()
    for iteration in (1, 2, 3):
        checkpointer.save(states, StageProgress(iteration))
        states = step(states, np.zeros(8))
    checkpointer.wait()
    expected = jax.tree.map(lambda x: x + 1 + 1, make_states(1))
    assert_equal(checkpointer.restore(make_states(), no_warning)[0], expected)


def test_saving_an_iteration_again_leaves_it_alone(open_checkpointer):
    checkpointer = open_checkpointer()
    checkpointer.save(make_states(1), StageProgress(2))
    checkpointer.save(make_states(5), StageProgress(2))
    checkpointer.wait()
    assert_equal(checkpointer.restore(make_states(), no_warning)[0], make_states(1))


def test_what_was_being_written_does_not_count(open_checkpointer, tmp_path):
    save(open_checkpointer(), 4)
    (tmp_path / "checkpoints/psnr/.unfinished-5-abc/5/state").mkdir(parents=True)
    (tmp_path / "checkpoints/psnr/.unfinished-best").symlink_to("4")
    assert open_checkpointer().latest() == 4
    assert "4" in names(tmp_path)
    assert ".unfinished-5-abc" not in names(tmp_path)  # a killed process left it


def test_which_ones_stay(open_checkpointer, tmp_path):
    checkpointer = open_checkpointer(max_to_keep=2, keep_every=5)
    save(checkpointer, 1, 2, 3, 5, 6, best=Best("psnr_y", 30.0, 2))
    assert names(tmp_path) == {"2", "5", "6", "best"}
    assert (tmp_path / "checkpoints/psnr/best").resolve().name == "2"
    save(checkpointer, 10, 11, best=Best("psnr_y", 31.0, 11))
    assert names(tmp_path) == {"5", "10", "11", "best"}
    assert (tmp_path / "checkpoints/psnr/best").resolve().name == "11"


def test_damaged_ones_are_passed_over_and_set_aside(open_checkpointer, tmp_path):
    save(open_checkpointer(), 1, 2, 3)
    folder = tmp_path / "checkpoints/psnr"
    (folder / "3/record.json").unlink()
    (folder / "2/state/manifest.ocdbt").write_bytes(b"nothing")
    warnings = []
    states, progress = open_checkpointer().restore(make_states(), warnings.append)
    assert progress.iteration == 1
    assert_equal(states, make_states(1))
    assert warnings[0] == f"{folder}/3/record.json is missing: going on from iteration 2 instead of 3"
    assert "2/state/manifest.ocdbt is damaged (7 bytes instead of " in warnings[1]
    # They count for nothing, not even for the number that is kept.
    save(open_checkpointer(max_to_keep=1), 2)
    assert names(tmp_path) == {"2", "2.damaged", "3.damaged"}


def test_all_damaged(open_checkpointer, tmp_path):
    save(open_checkpointer(), 1)
    (tmp_path / "checkpoints/psnr/1/record.json").write_text("[1]")
    with pytest.raises(
        CheckpointError, match=r"psnr/1/record.json is damaged\): restore .* delete .*/psnr to"
    ):
        open_checkpointer().restore(make_states(), no_warning)


def test_other_networks_are_no_damage(open_checkpointer, tmp_path):
    save(open_checkpointer(), 1, 2)
    with pytest.raises(ConfigError, match="psnr/2 holds other networks"):
        open_checkpointer().restore(make_states(features=4), no_warning)
    assert names(tmp_path) == {"1", "2"}


def test_full_disk(tmp_path, capfd):
    """Nothing is lost but the new checkpoint, and the next one is another try."""
    with small_disk(tmp_path / "disk", "4m") as disk:
        save_on_full_disk(disk)
    assert capfd.readouterr() == ("", "")  # no tracebacks of orbax


def save_on_full_disk(disk):
    checkpointer = Checkpointer(disk, "psnr", max_to_keep=1)
    save(checkpointer, 1)
    ballast = fill(disk, leave=2**19)
    save(checkpointer, 2)
    assert (
        checkpointer.problem == "the checkpoint of iteration 2 could not be saved (No space left on device)"
    )
    assert [path.name for path in (disk / "checkpoints/psnr").iterdir()] == ["1"]
    assert_equal(checkpointer.restore(make_states(), no_warning)[0], make_states(1))
    ballast.unlink()
    save(checkpointer, 3)
    assert checkpointer.problem is None
    assert iterations(disk, "psnr") == [3]


def test_saves_that_fail_one_after_another(open_checkpointer, tmp_path, monkeypatch):
    """One between good ones is a warning; so many in a row end the run, as soon as the last of them has failed."""
    works = checkpoint.write

    def full(*_):
        raise OSError(28, "No space left on device")

    def save_on(disk, *iterations):
        monkeypatch.setattr(checkpoint, "write", disk)
        save(checkpointer, *iterations)

    checkpointer = open_checkpointer()
    save_on(works, 1)
    save_on(full, 2, 3)
    assert checkpointer.problem.startswith("the checkpoint of iteration 3 could not be saved")
    save_on(works, 4)
    assert checkpointer.problem is None
    save_on(full, 5, 6)
    with pytest.raises(
        CheckpointError,
        match=r"because it would be lost: the checkpoint of iteration 7 could not be saved \(No space left on "
        rf"device\), and neither could the 2 before it\. .* from the newest checkpoint in {tmp_path}\.",
    ):
        checkpointer.save(make_states(7), StageProgress(7))
    assert iterations(tmp_path, "psnr") == [1, 4]


def test_first_save_that_fails_is_an_error(open_checkpointer, tmp_path):
    """Where the run has a checkpoint, of any stage, it is a warning."""
    blocked = tmp_path / "checkpoints/psnr"
    blocked.parent.mkdir()
    blocked.write_text("a file where the folder should be")
    checkpointer = open_checkpointer()
    reason = "the checkpoint of iteration 2 could not be saved (File exists)"
    with pytest.raises(CheckpointError, match=re.escape(f"has no checkpoint yet, and {reason}. Mend that")):
        checkpointer.save(make_states(2), StageProgress(2))
    write(tmp_path, 1, stage="gan")
    save(checkpointer, 2)
    assert checkpointer.problem == reason
