"""evaluate, from the files of photos and of a network to tables, JSON, pages and pictures."""

import errno
import html
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import weight_files
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from esrgan_jax.cli.main import main
from esrgan_jax.imaging import image_size, imresize, read_rgb, to_uint8
from esrgan_jax.metrics import METRICS
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import load_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def photos(tmp_path):
    """Parts of real photos: one of odd size in a folder of its own, one in grey."""
    folder = tmp_path / "photos"
    (folder / "people").mkdir(parents=True)
    Image.fromarray(data.chelsea()[80:160, 60:160]).save(folder / "chelsea.png")
    Image.fromarray(data.astronaut()[:83, 180:265]).save(folder / "people" / "astronaut.png")
    Image.fromarray(data.chelsea()[80:160, 60:160]).convert("L").save(folder / "grey.png")
    return folder


@pytest.fixture
def model(tmp_path):
    """A random network, `params` other than `params_ema`."""
    both = {"params": weight_files.generator(), "params_ema": weight_files.generator(seed=1)}
    containers.write(tmp_path / "net_g.pth", both)
    return tmp_path / "net_g.pth"


def run(*arguments):
    return main(["evaluate", *map(str, arguments)])


def by_scikit_image(sr, hr, cut):
    """The four scores, with scikit-image and the formula of Y alone."""
    sr, hr = (x[cut : x.shape[0] - cut, cut : x.shape[1] - cut].astype(float) for x in (sr, hr))
    y = np.array([65.481, 128.553, 24.966]) / 255
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return {
        "psnr_y": peak_signal_noise_ratio(hr @ y, sr @ y, data_range=255),
        "psnr_rgb": peak_signal_noise_ratio(hr, sr, data_range=255),
        "ssim_y": structural_similarity(16 + hr @ y, 16 + sr @ y, **options),
        "ssim_rgb": structural_similarity(hr, sr, channel_axis=-1, **options),
    }


def original(path):
    hr = read_rgb(path)
    return hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]


def enlarged(model, key, hr):
    module, variables = load_model(model, key=key)
    return to_uint8(
        np.asarray(module.apply(variables, imresize(hr, 1 / 4)[None].astype(np.float32) / 255))[0]
    )


NAMES = ["chelsea.png", "grey.png", "people/astronaut.png"]


def test_scores_are_those_of_the_saved_pictures(photos, model, tmp_path, capsys):
    assert run("--model", model, "--hr", photos, "--json", "--save", tmp_path / "sr") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert [image["name"] for image in found["images"]] == NAMES
    for image in found["images"]:
        hr = original(photos / image["name"])
        bicubic = imresize(imresize(hr, 1 / 4), 4)
        assert image["bicubic"] == pytest.approx(by_scikit_image(bicubic, hr, 4), abs=1e-9)
        saved = np.asarray(Image.open(tmp_path / "sr" / image["name"]))
        assert image["model"] == pytest.approx(by_scikit_image(saved, hr, 4), abs=1e-9)
    # The average is taken where there is one; a level, where float32 ends near a half.
    hr, saved = original(photos / NAMES[2]), np.asarray(Image.open(tmp_path / "sr" / NAMES[2]))
    assert np.abs(saved.astype(int) - enlarged(model, "params_ema", hr)).max() <= 1
    for which in ("model", "bicubic"):
        mean = {name: np.mean([image[which][name] for image in found["images"]]) for name in METRICS}
        assert found["mean"][which] == pytest.approx(mean)
    assert (found["scale"], found["crop_border"]) == (4, 4)
    assert found["model"] == f"{model} (RRDBNet x4), computed in float32"


def test_the_table_says_what_was_measured(photos, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--crop-border", 6, "--key", "params", "--dtype", "bfloat16"]
    assert (
        run("--model", model.name, "--hr", "photos", "--html", "out/a.html", "--save", "out/sr", *options)
        == 0
    )
    table, err = capsys.readouterr()
    assert err == ""
    lines = table.splitlines()
    assert lines[0] == "model     net_g.pth (RRDBNet x4, params), computed in bfloat16"
    assert lines[1] == "images    3 of photos"
    assert lines[2] == "LR        made by MATLAB's bicubic from HR cropped to multiples of 4"
    assert lines[3] == "scale     4"
    assert "6 pixels are cut from each side" in " ".join(map(str.strip, lines))
    assert lines[-5].split() == ["image", *["bicubic", "model"] * 4]
    page = (tmp_path / "out" / "a.html").read_text()
    for name, line in zip(NAMES, lines[-4:-1], strict=True):
        hr, saved = original(photos / name), np.asarray(Image.open(tmp_path / "out" / "sr" / name))
        both = by_scikit_image(imresize(imresize(hr, 1 / 4), 4), hr, 6), by_scikit_image(saved, hr, 6)
        digits = {"psnr_y": 2, "psnr_rgb": 2, "ssim_y": 4, "ssim_rgb": 4}
        cells = [f"{scores[score]:.{digits[score]}f}" for score in METRICS for scores in both]
        assert line.split() == [name, *cells]
        assert all(f">{cell}<" in page for cell in cells)
    assert lines[-1].startswith("mean ")
    far = [np.abs(saved.astype(int) - enlarged(model, key, hr)).mean() for key in ("params", "params_ema")]
    assert 0 < far[0] < 1 < far[1]


def test_the_documented_command_prints_the_documented_numbers(capsys):
    """docs/evaluation.md computes them by hand; tests/evaluation/test_scores.py compares all digits."""
    assert run("--model", "bicubic", "--hr", "sample") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split() == ["mean", "31.47", "30.05", "0.8063", "0.7808"]


def test_a_set_with_its_own_lr(tmp_path, capsys):
    hr = data.chelsea()[80:152, 60:156]
    for index in range(5):
        for folder, image in (("GTmod12", hr), ("LRbicx4", imresize(hr, 1 / 4) // 2 + 10 * np.uint8(index))):
            (tmp_path / "Set5" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / "Set5" / folder / f"{index}.png")
    assert run("--model", "bicubic", "--hr", tmp_path / "Set5") == 0
    out = capsys.readouterr().out
    words = " ".join(out.split())  # lines are wrapped, wherever the path ends
    assert f"5 of {tmp_path / 'Set5' / 'GTmod12'}: Set5 as BasicSR has it " in words
    assert f" LR {tmp_path / 'Set5' / 'LRbicx4'} " in words
    assert out.endswith("\n\nBicubic on Y in ESRGAN's paper: 28.42 dB, 0.8104.\n")
    assert run("--model", "bicubic", "--hr", tmp_path / "Set5", "--json") == 0
    image = json.loads(capsys.readouterr().out)["images"][3]
    sr = imresize(imresize(hr, 1 / 4) // 2 + np.uint8(30), 4)
    assert image["bicubic"] == pytest.approx(by_scikit_image(sr, hr, 4), abs=1e-9)


def test_progress_goes_to_stderr_and_nothing_else_to_stdout(photos):
    """A real process; its output is piped, so there is no bar."""
    command = [sys.executable, "-m", "esrgan_jax.cli.main", "evaluate", "--model", "bicubic", "--json"]
    done = subprocess.run([*command, "--hr", str(photos)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["images"]) == 3
    assert done.stderr == ""


def test_bad_images_are_named_and_the_others_scored(photos, tmp_path, capsys, monkeypatch):
    """Named in front of all work where the header says it; otherwise when it is found. Nothing is lost."""
    whole = (photos / "grey.png").read_bytes()
    (photos / "grey.png").write_bytes(whole[: len(whole) // 2])  # found when it is read
    (photos / "b.png").symlink_to("nothing.png")
    os.mkfifo(photos / "pipe.png")
    Image.new("RGB", (16, 300)).save(photos / "people/small.png")
    (photos / "x.exr").write_bytes(b"")
    (photos / "secret").mkdir()
    scandir = os.scandir

    def refuse_one(path):
        if str(path) == str(photos / "secret"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_one)
    page = tmp_path / "report.html"
    sentences = {
        "secret": "is a folder that cannot be read (Permission denied)",
        "grey.png": "is incomplete or damaged",
        "b.png": "is a link to nothing.png, which does not exist",
        "pipe.png": "is a pipe",
        "people/small.png": "cannot be scored: `crop_border` (=4) leaves 292x8 pixels; SSIM needs at least 11x11",
    }
    assert run("--model", "bicubic", "--hr", photos, "--html", page, "--json") == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [image["name"] for image in found["images"]] == ["chelsea.png", "people/astronaut.png"]
    mean = np.mean([image["model"]["psnr_y"] for image in found["images"]])
    assert found["mean"]["model"]["psnr_y"] == pytest.approx(mean)
    assert found["left_out"].keys() == {str(photos / name) for name in sentences}
    assert found["other_formats"].startswith("1 picture of other formats left out: x.exr (an OpenEXR picture")
    for name, sentence in sentences.items():
        assert found["left_out"][str(photos / name)].startswith(f"{photos / name} {sentence}")
        assert html.escape(f"{photos / name} {sentence}") in page.read_text()
    assert err.startswith(f"left out  {photos / 'grey.png'} is incomplete or damaged")
    assert err.count("\n") == 1

    assert run("--model", "bicubic", "--hr", photos) == 1
    out = capsys.readouterr().out
    words = " ".join(out.partition("\nimage ")[0].split())
    for name in ("b.png", "pipe.png", "people/small.png"):
        assert f"left out {photos / name} {sentences[name]}" in words
    assert out.endswith("\n\nThe mean is that of 2 images; 5 are left out.\n")
    assert "mean " in out


def test_too_small_alone_is_no_failure(photos, capsys):
    Image.new("RGB", (16, 16)).save(photos / "people/small.png")
    assert run("--model", "bicubic", "--hr", photos) == 0
    assert "The mean is that of 3 images; 1 is left out.\n" in capsys.readouterr().out


def test_results_that_cannot_be_saved_lose_nothing(photos, tmp_path, monkeypatch, capsys):
    def full(path, image):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("esrgan_jax.imaging.rgb_files.write_png", full)
    words = ("--model", "bicubic", "--hr", photos, "--save", tmp_path / "sr", "--html", tmp_path / "a.html")
    assert run(*words, "--json") == 1
    out, err = capsys.readouterr()
    assert len(json.loads(out)["images"]) == 3
    assert err.count("cannot be written (No space left on device)") == 3
    assert (tmp_path / "a.html").exists()


def test_rows_come_in_natural_order(tmp_path, capsys):
    for number in (10, 9, 100):
        (tmp_path / "hr").mkdir(exist_ok=True)
        Image.fromarray(data.chelsea()[:40, : 30 + number]).save(tmp_path / f"hr/f{number}.png")
    assert run("--model", "bicubic", "--hr", tmp_path / "hr", "--json", "--save", tmp_path / "sr") == 0
    names = [image["name"] for image in json.loads(capsys.readouterr().out)["images"]]
    assert names == ["f9.png", "f10.png", "f100.png"]
    for number in (9, 10, 100):
        assert image_size(tmp_path / f"sr/f{number}.png")[1] == (30 + number) // 4 * 4


def test_one_lr_image_for_two_hr_images(tmp_path, capsys):
    hr = data.chelsea()[:80, :80]
    for name in ("HR/a.png", "HR/a.jpg", "LR/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(hr if "HR" in name else imresize(hr, 1 / 4)).save(tmp_path / name)
    for command in (["evaluate", "--model", "bicubic", "--hr"], ["check-data", "--gt-size", "32"]):
        words = [*command, str(tmp_path / "HR"), "--lr", str(tmp_path / "LR")]
        assert main(words) == 1
        said = "".join(capsys.readouterr())
        hr_files = rf"{tmp_path / 'HR/a'}\.(jpg|png) and {tmp_path / 'HR/a'}\.(jpg|png)"
        assert re.search(rf"{hr_files} have one LR image, {tmp_path / 'LR/a.png'}: give each its own", said)
        Image.fromarray(imresize(hr, 1 / 4)).save(tmp_path / "LR/a.jpg")
        assert main(words) == 0
        capsys.readouterr()
        (tmp_path / "LR/a.jpg").unlink()


@pytest.mark.parametrize("name", ["._001_SRF_4_HR.png", ".001_SRF_4_HR.png"])
def test_hidden_files_beside_huangs_pairs(tmp_path, capsys, name):
    folder = tmp_path / "mine" / "image_SRF_4"
    folder.mkdir(parents=True)
    hr = data.chelsea()[:80, :80]
    Image.fromarray(hr).save(folder / "001_SRF_4_HR.png")
    Image.fromarray(imresize(hr, 1 / 4)).save(folder / "001_SRF_4_LR.png")
    (folder / name).write_bytes(b"\0\5\x16\7")
    assert run("--model", "bicubic", "--hr", tmp_path / "mine", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [image["name"] for image in found["images"]] == ["001_SRF_4_HR.png"]
    assert found["left_out"] == {}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--model", "bicubic", "--hr", "nowhere"], 1, "The HR folder nowhere does not exist"),
        (["--model", "nothing.pth", "--hr", "photos"], 1, "nothing.pth does not exist"),
        (["--model", "net_g.pth", "--hr", "photos", "--scale", "2"], 1, "net_g.pth is no network of scale 2"),
        (["--model", "net_g.pth", "--hr", "photos", "--key", "other"], 1, "other"),
        (["--model", "net_g.pth", "--hr", "photos", "--tile", "16"], 2, "tile (=16) must be at least"),
        (["--model", "net_g.pth", "--hr", "photos", "--tile", "64", "--overlap", "64"], 2, "overlap (=64)"),
        (["--model", "bicubic", "--hr", "photos", "--crop-border", "-1"], 2, "--crop-border (=-1) must be 0"),
        (
            ["--model", "bicubic", "--hr", "photos", "--crop-border", "36"],
            1,
            "leaves 8x28 pixels; SSIM needs",
        ),
        (["--model", "bicubic", "--hr", "photos", "--html", "photos"], 2, "photos cannot be written"),
        (
            ["--model", "bicubic", "--hr", "photos", "--html", "net_g.pth/a.html"],
            2,
            "a.html cannot be written",
        ),
        (["--model", "bicubic", "--hr", "photos", "--save", "net_g.pth"], 2, "cannot be written"),
        (["--model", "bicubic", "--hr", "photos", "--save", "photos"], 2, "--save (=photos) lies in photos"),
        (["--model", "bicubic", "--hr", "photos", "--save", "photos/sr"], 2, "lies in photos"),
        (["--model", "bicubic", "--hr", "photos", "--lr", "lr", "--save", "lr"], 2, "lies in lr"),
        (
            ["--model", "bicubic", "--hr", "twins", "--save", "sr"],
            2,
            "a.bmp and a.png would both be saved as",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    photos, model, tmp_path, monkeypatch, capsys, arguments, code, sentence
):
    monkeypatch.chdir(tmp_path)
    for path in ("lr/chelsea.png", "lr/grey.png", "lr/people/astronaut.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        size = (21, 20) if "people" in path else (25, 20)
        Image.new("RGB", size).save(tmp_path / path)
    (tmp_path / "twins").mkdir()
    for suffix in ("png", "bmp"):
        Image.fromarray(data.chelsea()[:40, :40]).save(tmp_path / "twins" / f"a.{suffix}")
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*.png")}
    assert run(*arguments) == code
    err = capsys.readouterr().err
    assert err.startswith("esrgan-jax evaluate: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in photos.rglob("*.png")} == before
