"""The training command as people use it: real processes, really killed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.commands import (
    PATIENCE,
    ROOT,
    SMALL,
    Command,
    assert_same_states,
    read_lines,
    write_picture,
    write_pictures,
)
from helpers.disks import fill, small_disk
from PIL import Image

from esrgan_jax.cli import train


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A run from beginning to end, and its folder."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    command = Command(images, folder)
    assert command.end() == 0, command.errors
    return command, folder


def test_what_a_run_says(whole):
    command, folder = whole
    assert command.errors == []
    text = "\n".join(command.lines)
    for pattern in (
        r"^run       quickstart in .*/run, \d+ CPU devices?$",
        r"^data      .* \.\.\.$",
        r"^data      .*: \d+\.\d s$",
        r"^          3 images to train on, 1 held out \(bicubic: PSNR Y \S+ dB, PSNR RGB \S+ dB, SSIM Y \S+\)$",
        r"^note      no perceptual loss",
        r"^init      psnr stage: \d+\.\d s$",
        r"^compile   psnr stage \.\.\.$",
        r"^compile   psnr stage: \d+\.\d s; first step: \d+\.\d s; peak memory \d+\.\d\d GB$",
        r"^data      first batch: \d+\.\d s$",
        r"^psnr      30/60: .*l_g_pix \S+; \d+\.\d images/s, .* left, for the run at least .* s$",
        r"^evaluate  psnr 0: EMA network ",
        r"^evaluate  psnr 60: EMA network PSNR Y \S+ dB \(bicubic \S+, [+-]\d+\.\d\d\), PSNR RGB .*\), SSIM Y ",
        r"^compile   gan stage: ",
        r"^gan       30/30: .*l_d_fake .*l_g_gan .*l_g_pix .*, 0 s left$",
        r"^evaluate  gan 30: ",
        r"^done      .*, peak memory .*curves\.png.*samples$",
        r"^model     .*/run/net_g_30\.pth$",
        r"^next      esrgan-jax upscale .*/run/samples/lr\.png --model .*/run/net_g_30\.pth -o large\.png$",
    ):
        assert re.search(pattern, text, re.MULTILINE), pattern
    assert "\r" not in text
    assert max(map(len, command.lines)) < 250
    log = [line[len("2026-01-01 00:00:00 ") :] for line in (folder / "train.log").read_text().splitlines()]
    assert log == [line for line in command.lines if not re.search(r" \.\.\.( \d+ s)?$", line)]


def test_what_a_run_leaves(whole):
    _, folder = whole
    assert {path.name for path in folder.iterdir()} >= {
        "checkpoints",
        "config.json",
        "curves.png",
        "metrics.jsonl",
        "samples",
        "tensorboard",
        "train.log",
    }
    assert json.loads((folder / "config.json").read_text())["gan"]["steps"] == 30
    samples = sorted(path.name for path in (folder / "samples").iterdir())
    assert samples == [
        *(f"gan_00000{iteration}.png" for iteration in ("00", 20, 30)),
        "lr.png",
        *(f"psnr_00000{iteration}.png" for iteration in ("00", 20, 40, 60)),
    ]
    samples.remove("lr.png")
    for name in samples:  # LR, SR and HR of 72 x 64 pixels beside each other, below a line of text
        with Image.open(folder / "samples" / name) as image:
            assert image.size == (3 * 72 + 2 * 6, 64 + 26)
            image.load()
    with Image.open(folder / "curves.png") as image:
        assert image.size == (1200, 700)
        image.load()
    for stage, iterations in (("psnr", {"40", "50", "60"}), ("gan", {"10", "20", "30"})):
        best = (folder / "checkpoints" / stage / "best").resolve().name
        saved = {path.name for path in (folder / "checkpoints" / stage).iterdir()}
        assert saved == iterations | {"best", best}
        assert len(list((folder / "tensorboard" / stage).glob("events*"))) == 1
    lines = read_lines(folder)
    assert [line["iteration"] for line in lines if "lr" in line] == list(range(5, 61, 5))
    assert [line["iteration"] for line in lines if "lr_g" in line] == list(range(5, 31, 5))
    assert [line["iteration"] for line in lines if "psnr_y" in line] == [0, 20, 40, 60, 0, 20, 30]
    losses = [line["l_g_pix"] for line in lines if "lr" in line]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])  # it learns


def test_killed_runs_go_on_to_the_same_end(images, whole, tmp_path):
    """Killed in the PSNR stage, interrupted in it, killed in the GAN stage: no bit of the end differs."""
    _, expected = whole
    folder = tmp_path / "run"
    # Later processes need not compile again; the first of each stage does, and the whole run did on its own.
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    killed = Command(images, folder, **cache)
    assert killed.stop_after("psnr      30/60", signal.SIGKILL) == -signal.SIGKILL

    interrupted = Command(images, folder, **cache)
    assert interrupted.stop_after("psnr      45/60", signal.SIGINT) == 130
    # Checkpoints are written in the background: the newest may have been unfinished.
    assert interrupted.says(r"^restore   psnr stage at iteration (10|20|30): ")
    assert not interrupted.says(r"^psnr      (5|10)/60")
    assert interrupted.errors == []
    stopped = interrupted.saved_at()
    assert 45 <= stopped <= 52  # the line is there before its iteration ends, and this process reads it later

    # In the evaluation at the stage's end, which then is still to be made.
    evaluating = Command(images, folder, **cache)
    assert evaluating.stop_after("psnr      60/60", signal.SIGTERM) == 143
    assert evaluating.says(f"^restore   psnr stage at iteration {stopped}: ")
    evaluated = evaluating.says("^evaluate  psnr 60: ")
    assert evaluating.says("run the same command to resume")

    killed = Command(images, folder, **cache)
    assert killed.stop_after("gan       25/30", signal.SIGKILL) == -signal.SIGKILL
    assert killed.says("^restore   psnr stage at iteration 60: ")
    assert killed.says("^evaluate  psnr 60: ") or evaluated

    last = Command(images, folder, **cache)
    assert last.end() == 0
    assert last.errors == []
    assert last.says(r"^restore   gan stage at iteration (10|20): ")
    assert not last.says("^psnr ")

    assert_same_end(folder, expected)
    for sample in (expected / "samples").iterdir():
        assert (folder / "samples" / sample.name).read_bytes() == sample.read_bytes()


def assert_same_end(folder, expected):
    """Both stages end with the same bits."""
    for stage, iteration in (("psnr", "60"), ("gan", "30")):
        records = assert_same_states(folder, expected, stage, iteration)
        same = ("iteration", "patches", "arrays", "versions") + ("evaluated", "best") * (stage == "gan")
        for name in same:  # the PSNR stage may have been saved before its evaluation
            assert records[0][name] == records[1][name]
    assert (folder / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()


def test_stopped_while_compiling(images, tmp_path):
    """XLA cannot be stopped in the middle, and there is nothing to save."""
    command = Command(images, tmp_path)
    assert command.stop_after("compile   psnr stage ...", signal.SIGTERM) == 143
    assert command.seconds_to_end < 2
    assert command.errors == []
    assert command.says("everything is saved; run the same command")


def test_damaged_newest_checkpoint(images, whole, tmp_path):
    """Whatever is wrong with whichever file, the run goes on from the one before, and says so."""
    _, expected = whole
    folder = tmp_path / "run"
    shutil.copytree(expected, folder, symlinks=True)
    shutil.rmtree(folder / "checkpoints/gan")
    path = next(path for path in (folder / "checkpoints/psnr/60/state/d").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    command = Command(images, folder, "--config.stages=psnr")
    assert command.end() == 0
    assert command.says(rf"^warning   {path} is damaged \(.*\): going on from iteration 50 instead of 60$")
    assert command.says(
        r"^note      changed since the last start: stages \(was \['psnr', 'gan'\], is \['psnr'\]\)"
    )
    assert_same_states(folder, expected, "psnr", "60")


def test_full_disk(images, tmp_path):
    """A file system of 10 MB that is full from the first checkpoint on: after three tries training stops."""
    with small_disk(tmp_path / "disk", "10m") as disk, contextlib.ExitStack() as commands:
        train_on_full_disk(images, disk, commands)


def train_on_full_disk(images, disk, commands):
    stage = ("--config.stages=psnr", "--config.evaluate_every=0", "--config.max_to_keep=1")
    command = Command(images, disk / "run", *stage)
    commands.callback(command.process.kill)
    first = disk / "run/checkpoints/psnr/10"
    while not first.exists():  # it is written in the background
        assert command.process.poll() is None
        time.sleep(0.002)
    ballast = fill(disk, leave=2**17)
    assert command.end() == 1
    reason = r"could not be saved \(No space left on device\)"
    assert command.says(rf"^warning   the checkpoint of iteration \d0 {reason}: training goes on")
    assert len(command.errors) == 1
    failed = re.match(
        rf"train.py: Training stops, because it would be lost: the checkpoint of iteration (\d0) {reason}, and "
        rf"neither could the 2 before it\. Mend that and run the same command: .* checkpoint in {disk}/run\.$",
        command.errors[0],
    )
    assert failed
    assert not command.says(rf"^psnr      {int(failed[1]) + 5}/60: ")
    # The last good one is still there (a later one if it was quicker than the ballast); with room the run goes on.
    (good,) = [path.name for path in (disk / "run/checkpoints/psnr").glob("[0-9]*")]
    assert int(good) == int(failed[1]) - 30
    ballast.unlink()
    again = Command(images, disk / "run", *stage)
    commands.callback(again.process.kill)
    assert again.end() == 0
    assert again.says(f"^restore   psnr stage at iteration {good}: ")
    lines = read_lines(disk / "run")
    assert [line["iteration"] for line in lines if "lr" in line] == list(range(5, 61, 5))


def test_first_checkpoint_that_cannot_be_saved(images, tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    command = Command(images, tmp_path, "--config.stages=psnr", "--config.evaluate_every=0")
    assert command.end() == 1
    (sentence,) = command.errors
    assert re.match(
        rf"train.py: Training stops, because it would be lost: {tmp_path} has no checkpoint yet, and the checkpoint "
        r"of iteration 10 could not be saved \(Not a directory\)\. Mend that",
        sentence,
    )
    assert not command.says("^psnr      15/60")


def test_checkout_that_is_not_installed(images, tmp_path):
    """On PYTHONPATH, without the metadata of an installation: it saves."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "def version(name):\n"
        "    raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = version\n"
    )
    flags = ("--config.stages=psnr", "--config.psnr.steps=10")
    command = Command(images, tmp_path / "run", *flags, PYTHONPATH=str(tmp_path))
    assert command.end() == 0, command.errors
    assert not command.says("^warning")
    record = json.loads((tmp_path / "run/checkpoints/psnr/10/record.json").read_text())
    assert record["versions"]["jax"] is None
    assert record["versions"]["esrgan-jax"]


def test_finished_run_started_again(images, whole):
    """It says so, scores the network once more, and changes nothing; here with another number of devices."""
    command, folder = whole
    kept = ("metrics.jsonl", "checkpoints", "samples")
    before = {
        path: path.stat().st_mtime_ns if path.is_dir() else path.read_bytes()
        for name in kept
        for path in [folder / name, *(folder / name).rglob("*")]
        if not path.is_dir()
    }
    again = Command(images, folder, "--config.num_devices=1")
    assert again.end() == 0
    assert again.errors == []
    assert again.says("nothing was left to do")
    assert not again.says("^(compile|psnr|gan) ")
    score = next(line for line in command.lines if line.startswith("evaluate  gan 30: ")).split(": ")[1]
    assert again.says(f"^evaluate  gan: {re.escape(score.split(';')[0])}")
    for path, content in before.items():
        assert path.read_bytes() == content
    found = {
        path for name in kept for path in [folder / name, *(folder / name).rglob("*")] if not path.is_dir()
    }
    assert found == set(before)


# Bad input: one sentence on stderr and the exit code.


def run_main(monkeypatch, capsys, *words):
    """Exit code of the command in this process, and its one sentence."""
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
    code = train.main()
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err.startswith("train.py: ")
    assert err.count("\n") == 1
    return code, err


@pytest.fixture
def refuse(monkeypatch, capsys, tmp_path):
    """Runs the command with a mistake in it and returns its sentence."""
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "home"))
    signals = signal.getsignal(signal.SIGINT)

    def run(*words, config="quickstart.py", expected=1):
        words = (f"--config={ROOT / 'configs' / config}", f"--workdir={tmp_path / 'run'}", *words)
        code, text = run_main(monkeypatch, capsys, *words)
        assert code == expected, text
        assert signal.getsignal(signal.SIGINT) is signals
        return text

    return run


pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")
ONE = "--config.num_devices=1"
PSNR = ("--config.stages=psnr", "--config.psnr.gt_size=32", ONE)


def test_missing_flag(monkeypatch, capsys):
    code, text = run_main(monkeypatch, capsys)
    assert code == 2
    assert "--config is missing" in text


def test_stage_without_a_beginning(refuse):
    text = refuse(ONE, config="x4.py:gan", expected=2)
    assert "--config.init_from=scratch" in text


def test_recipe_without_vgg_weights(refuse):
    text = refuse(ONE, config="x4.py", expected=2)
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in text
    assert "--config.perceptual.perceptual_weight=0" in text


def test_data_set_that_is_not_prepared(refuse, tmp_path):
    text = refuse(ONE, f"--config.data.data_dir={tmp_path}", config="x4.py:psnr")
    assert "data.train: tfds:div2k/bicubic_x4 is not prepared" in text
    assert "sample for the embedded photos" in text


def test_batch_that_the_devices_do_not_divide(refuse):
    text = refuse("--config.num_devices=8", "--config.psnr.batch_size=12", expected=2)
    assert "psnr.batch_size (=12) must be divisible by the number of devices (=8)" in text


def test_unknown_stage_in_a_field(refuse):
    assert "stages (=('foo',)) must be" in refuse("--config.stages=foo", expected=2)


def test_empty_folder(refuse, tmp_path):
    (tmp_path / "none").mkdir()
    assert f"{tmp_path / 'none'} holds no image" in refuse(*PSNR, f"--config.data.train={tmp_path / 'none'}")


def test_missing_folder(refuse, tmp_path):
    assert f"{tmp_path / 'none'} does not exist" in refuse(*PSNR, f"--config.data.train={tmp_path / 'none'}")


def test_sizes_that_do_not_fit_the_scale(refuse, tmp_path):
    write_picture(tmp_path / "hr/a.png", 128)
    bad = write_picture(tmp_path / "lr/a.png", 30)
    text = refuse(
        *PSNR, f"--config.data.train={tmp_path / 'hr'}", f"--config.data.train_lr={tmp_path / 'lr'}"
    )
    assert str(bad) in text


def test_image_smaller_than_the_patch(refuse, tmp_path):
    small = write_picture(tmp_path / "hr/a.png", 30)
    assert f"{small} has 38x30 pixels, too few" in refuse(*PSNR, f"--config.data.train={tmp_path / 'hr'}")


def test_unreadable_image(refuse, tmp_path):
    bad = tmp_path / "hr/a.png"
    bad.parent.mkdir()
    bad.write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    assert str(bad) in refuse(*PSNR, f"--config.data.train={tmp_path / 'hr'}")


def test_image_with_a_truncated_body(refuse, tmp_path):
    """Found while training: only the first batches decode it."""
    bad = write_picture(tmp_path / "hr/a.png", 128)
    bad.write_bytes(bad.read_bytes()[:-1000])
    assert f"{bad} is incomplete or damaged" in refuse(*PSNR, f"--config.data.train={tmp_path / 'hr'}")


def test_workdir_below_a_file(refuse, tmp_path):
    (tmp_path / "file").write_text("")
    text = refuse(*PSNR, f"--workdir={tmp_path / 'file/run'}", expected=2)
    assert f"{tmp_path / 'file/run'} cannot be written" in text


def test_workdir_of_another_configuration(refuse, whole):
    _, folder = whole
    text = refuse(*SMALL, ONE, f"--workdir={folder}", "--config.psnr.optim_g.lr=1e-4", expected=2)
    assert f"{folder} holds a run of another configuration, " in text
    assert "psnr.optim_g.lr (was 0.001, is 0.0001)" in text
    assert "log_every" not in text


def test_empty_run_folder_to_start_from(refuse, tmp_path):
    (tmp_path / "empty").mkdir()
    text = refuse(ONE, f"--config.init_from={tmp_path / 'empty'}", config="quickstart.py:gan", expected=1)
    assert str(tmp_path / "empty") in text


# What is imported, and what is not.


def python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_no_torch():
    """Nothing imports it; tensorboardX, which would like to, goes without."""
    python(
        "import sys\n"
        "sys.modules |= {'torch': None, 'tensorflow': None}\n"
        "import pkgutil, importlib, train, esrgan_jax\n"
        "for module in pkgutil.walk_packages(esrgan_jax.__path__, 'esrgan_jax.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "assert 'esrgan_jax.training.loop' in sys.modules\n"
    )


def test_steps_need_jax_flax_optax_and_numpy_alone():
    python(
        "import sys\n"
        "class Forbid:\n"
        "    names = set('grain orbax tensorflow_datasets cv2 PIL skimage matplotlib tensorboardX ml_collections '\n"
        "                'jaxtyping torch tqdm safetensors scipy absl.flags'.split())\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in self.names and 'esrgan_jax' in by_whom():\n"
        "            raise ImportError(name + ' is not needed here')\n"
        "def by_whom():\n"
        "    frame = sys._getframe(2)\n"
        "    while 'importlib' in frame.f_code.co_filename:\n"
        "        frame = frame.f_back\n"
        "    return frame.f_code.co_filename\n"
        "sys.meta_path.insert(0, Forbid())\n"
        "import esrgan_jax.models, esrgan_jax.training.losses, esrgan_jax.training.optimizers\n"
        "import esrgan_jax.training.steps, esrgan_jax.training.state, esrgan_jax.system.parallel\n"
    )
