"""`esrgan-jax train` as people use it."""

import subprocess
import sys

import pytest
from helpers.commands import write_picture

from esrgan_jax.cli.main import main
from esrgan_jax.runs.lock import RunLock

# How ml_collections loads a file; Python only shows it to people who ask for such warnings.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")

TINY = (
    "network_g.num_feat=4",
    "network_g.num_block=1",
    "network_g.num_grow_ch=3",
    "psnr.steps=3",
    "psnr.batch_size=2",
)


def train(tmp_path, *words):
    return subprocess.run(
        [sys.executable, "-m", "esrgan_jax.cli.main", "train", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_folder_of_photos_is_enough(tmp_path):
    for size in range(50, 56):
        write_picture(tmp_path / "photos" / f"{size}.png", size)
    fields = [f"--config.{field}" for field in TINY]
    done = train(tmp_path, "photos", "--hours", "0.01", *fields)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in ("photos    6 in photos", "5 to train on, 1 held out", "disk      about", "done      "):
        assert words in done.stdout
    assert (tmp_path / "runs" / "photos" / "net_g_3.pth").exists()
    again = train(tmp_path, "photos", *fields)
    assert again.returncode == 0, again.stderr
    assert "resume    runs/photos, at iteration 3 of 3" in again.stdout


def test_flags_of_train_py_pass_through(tmp_path):
    done = train(tmp_path, "--config", "quickstart", "--config.psnr.steps=0")
    assert done.returncode == 2
    assert done.stderr == "esrgan-jax train: psnr.steps (=0) must be 1 or larger.\n"
    done = train(tmp_path, "--config=quickstart", "--hours=2")
    assert done.returncode == 2
    assert "hours" in done.stderr


def test_folder_in_which_another_training_runs(capsys, tmp_path):
    """It is said before the photos are read and iterations are timed."""
    (tmp_path / "run").mkdir()
    with RunLock(tmp_path / "run"):
        assert main(["train", str(tmp_path), "--workdir", str(tmp_path / "run")]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert f"{tmp_path / 'run'} is being trained by process " in error


def test_mistakes(capsys, tmp_path):
    assert main(["train"]) == 2
    assert capsys.readouterr().err.startswith("esrgan-jax train: Give a folder of photos")
    assert main(["train", str(tmp_path / "nowhere")]) == 1
    assert "nowhere is not a folder" in capsys.readouterr().err
    assert main(["train", str(tmp_path), "--config.x=1"]) == 2
    assert "Unknown field 'x'" in capsys.readouterr().err
    # Of a word with a space argparse thinks that it is no option.
    assert main(["train", "--config.name=a b", str(tmp_path / "nowhere")]) == 1
    assert "nowhere is not a folder" in capsys.readouterr().err
