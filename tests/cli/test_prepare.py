"""`esrgan-jax prepare` as people use it: DIV2K from a local server, without TensorFlow, killed, trained on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import div2k_zips
from helpers.web import serve

from configs import quickstart
from esrgan_jax.cli.main import main
from esrgan_jax.data.tfds import TfdsSource
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.training.loop import train_and_evaluate

ROOT = Path(__file__).parents[2]
SMALL = ("--crop-size=96", "--step=48")
COMMAND = """
import sys
from esrgan_jax.cli.main import main
code = main(sys.argv[1:])
assert "tensorflow" not in sys.modules
sys.exit(code)
"""


def start(*words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "prepare", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zips")
    div2k_zips.write_zips(folder)
    return folder


@pytest.fixture(scope="module")
def sets(zips, tmp_path_factory):
    """Both sets of DIV2K, whole and cut; the zip files are fetched for the first and used for the second."""
    folder = tmp_path_factory.mktemp("sets")
    with serve(zips) as server:
        words = ("div2k", "--data-dir", folder, "--mirror", server.address, "--any-checksum")
        whole = finish(start(*words, "--whole"))
        assert sorted(name for name, _ in server.requests) == sorted(div2k_zips.FILES.values())
        cut = finish(start(*words, *SMALL))
        assert len(server.requests) == 4
    return folder, whole, cut


def test_div2k_as_tfds_has_it(sets):
    folder, output, _ = sets
    assert f"div2k/bicubic_x4: {folder}/div2k/bicubic_x4/2.0.0" in output
    assert "train: 4 images, whole" in output
    assert f"--config.data.train=tfds:div2k/bicubic_x4 --config.data.data_dir={folder}" in output
    builder = tfds.builder("div2k/bicubic_x4", data_dir=folder)
    assert type(builder).__module__ == "tensorflow_datasets.datasets.div2k.div2k_dataset_builder"
    assert builder.info.full_name == "div2k/bicubic_x4/2.0.0"
    assert builder.info.file_format.value == "array_record"
    sizes = [(folder / "downloads/div2k" / file).stat().st_size for file in div2k_zips.FILES.values()]
    assert builder.info.download_size == sum(sizes)
    for part, split in (("train", "train"), ("valid", "validation")):
        source = tfds.data_source("div2k/bicubic_x4", split=split, data_dir=folder)
        assert set(source[0]) == {"lr", "hr"}
        found = {(pair["hr"].tobytes(), pair["lr"].tobytes()) for pair in source}
        assert found == {
            (div2k_zips.hr(part, number).tobytes(), div2k_zips.lr(part, number).tobytes())
            for number in div2k_zips.PICTURES[part]
        }


def test_div2k_that_is_there_already(sets, zips, capsys):
    words = ["--data-dir", str(sets[0]), "--downloads", str(zips), "--any-checksum"]
    assert main(["prepare", "div2k", "--whole", *words]) == 0
    assert f"{sets[0]}/div2k/bicubic_x4/2.0.0 exists already." in capsys.readouterr().err


def test_sub_images_of_div2k(sets):
    folder, _, output = sets
    source = TfdsSource("div2k_sub/bicubic_x4", "train", 4, folder)
    assert f"train: 4 images, {len(source)} sub-images" in output
    hr, lr = div2k_zips.hr("train", "0001"), div2k_zips.lr("train", "0001")
    corner = {"hr": hr[104:200, 168:264], "lr": lr[26:50, 42:66]}  # shifted to the border, below and right
    pairs = [source[index] for index in range(len(source))]
    assert any(all(np.array_equal(pair[key], corner[key]) for key in corner) for pair in pairs)
    assert {pair["hr"].shape for pair in pairs} == {(96, 96, 3)}
    [pair] = tfds.data_source("div2k_sub/bicubic_x4", split="validation", data_dir=folder)
    np.testing.assert_array_equal(pair["hr"], div2k_zips.hr("valid", "0801"))
    np.testing.assert_array_equal(pair["lr"], div2k_zips.lr("valid", "0801"))


@pytest.mark.parametrize("name", ["div2k/bicubic_x4", "div2k_sub/bicubic_x4"])
def test_a_training_runs_on_it(name, sets, tmp_path):
    config = quickstart.get_config("psnr")
    config.network_g.update(num_feat=4, num_block=1, num_grow_ch=2)
    config.psnr.update(steps=20, batch_size=2, gt_size=64)
    config.data.update(train=f"tfds:{name}", validation=f"tfds:{name}", data_dir=str(sets[0]))
    config.update(num_devices=1, log_every=10, evaluate_every=20, checkpoint_every=0)
    train_and_evaluate(config, str(tmp_path / "run"))
    lines = (tmp_path / "run/metrics.jsonl").read_text()
    assert "20" in lines
    assert "psnr" in lines


def test_lr_pictures_may_be_made_instead(zips, tmp_path, capsys):
    words = ["prepare", "div2k", f"--data-dir={tmp_path}", f"--downloads={zips}", "--any-checksum", *SMALL]
    assert main([*words, "--lr=bicubic", "--name=made"]) == 0
    files = [file.name for file in zips.iterdir()]
    assert sorted(files) == sorted(div2k_zips.FILES.values())  # the folder is only read
    [pair] = tfds.data_source("made", split="validation", data_dir=tmp_path)
    np.testing.assert_array_equal(pair["lr"], imresize(div2k_zips.hr("valid", "0801")[:, :224], 1 / 4))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder whose preparation takes seconds and makes several shards."""
    folder = tmp_path_factory.mktemp("many")
    coffee = div2k_zips.photo("coffee.png")
    for number in range(24):
        image = coffee[number : number + 320, 3 * number : 3 * number + 360]
        cv2.imwrite(str(folder / f"{number:02}.png"), image)
    return folder


def test_kill_and_go_on(many, tmp_path):
    words = (many, "--name=mine", "--crop-size=96", "--step=24")
    process = start(*words, f"--data-dir={tmp_path / 'killed'}")
    work = tmp_path / "killed/mine/1.0.0.incomplete"
    while process.poll() is None and len(list(work.glob("reports/mine*"))) < 1:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    finished = {file.name: (work / "set" / file.name).stat() for file in work.glob("reports/mine*")}
    assert 1 <= len(finished) < 4
    with pytest.raises(DataError, match="TFDS knows no data set 'mine'"):
        TfdsSource("mine", "train", 4, tmp_path / "killed")

    process = start(*words, f"--data-dir={tmp_path / 'killed'}")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"resume    {len(finished)} of 4 shards are finished" in errors
    assert "mine: " in output
    whole = tmp_path / "whole"
    assert main(["prepare", *map(str, words), f"--data-dir={whole}"]) == 0
    folder = tmp_path / "killed/mine/1.0.0"
    for file in folder.iterdir():
        assert file.read_bytes() == (whole / "mine/1.0.0" / file.name).read_bytes()
        if file.name in finished:
            assert os.path.samestat(file.stat(), finished[file.name])
            assert file.stat().st_mtime_ns == finished[file.name].st_mtime_ns
    assert len(list(folder.iterdir())) == len(list((whole / "mine/1.0.0").iterdir())) == 4 + 3
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]


def test_names(many, tmp_path, monkeypatch, capsys):
    def made(*words):
        assert main(["prepare", *words, "--crop-size=320", "--step=320"]) == 0
        return capsys.readouterr().out.split(":")[0]

    folder = tmp_path / "My Photos (2)"
    folder.mkdir()
    (folder / "a.png").write_bytes((many / "00.png").read_bytes())
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "ignored once imported"))
    data_dir = f"--data-dir={tmp_path / 'sets'}"
    assert made(str(folder), data_dir) == "my_photos_2_sub/bicubic_x4"
    assert made(str(folder), data_dir, "--whole", "--scale=2") == "my_photos_2/bicubic_x2"
    monkeypatch.chdir(folder)
    assert made(".", data_dir, "--name=mine") == "mine"
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == [
        "mine",
        "my_photos_2",
        "my_photos_2_sub",
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{many}", "--step=30"], 2, "--step (=30) must be a multiple of the scale (=4)"),
        (["{many}/none"], 1, "none does not exist"),
        (["{many}", "--lr={many}"], 1, "HR and LR are the same folder"),
        (["{many}", "--mirror=http://x"], 2, "--downloads, --mirror and --any-checksum go with div2k"),
        (["{many}", "--name=Mine"], 2, "--name Mine is not a name for TFDS"),
        (["{many}", "--name=mnist"], 2, "mnist is the name of a set of TFDS"),
        (["div2k", "--lr={many}"], 2, "With div2k, --lr is bicubic or left out"),
        (["div2k", "--whole", "--lr=bicubic"], 2, "give another name to a set with others (--name)"),
        (["div2k", "--scale=1"], 2, "published for --scale 2, 3, 4, 8, not 1"),
        (["div2k", "--downloads={zips}"], 1, "is not the DIV2K_train_LR_bicubic_X4.zip that is published"),
    ],
)
def test_mistakes(words, code, message, many, zips, tmp_path, capsys):
    words = [word.format(many=many, zips=zips) for word in words]
    assert main(["prepare", *words, f"--data-dir={tmp_path / 'sets'}"]) == code
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert error.endswith(".")
    assert not list((tmp_path / "sets").rglob("*.incomplete"))
