"""Folders with one of everything that goes wrong: check-data finds it, and training goes on or says why not."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
from helpers.trees import reachable, tree
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from configs import quickstart
from esrgan_jax.cli.main import main
from esrgan_jax.data.folder import FolderSource
from esrgan_jax.data.inspection import CONVERTED, STOPS, inspect_folder
from esrgan_jax.errors import DataError
from esrgan_jax.imaging import find_images
from esrgan_jax.training.loop import train_and_evaluate

PHOTO = np.array(Image.open(Path(skimage.__file__).parent / "data/astronaut.png").convert("RGB"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def parts_of_the_photo(folder: Path, *names: str) -> None:
    """Parts of 128 x 128 pixels, each of another place."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        y, x = divmod(number * 40, 360)
        Image.fromarray(PHOTO[40 * y : 40 * y + 128, x : x + 128]).save(folder / name)


@pytest.fixture
def mixed_bag(tmp_path) -> Path:
    """Four good images, and one of each of: truncated, text, 3 x 3 pixels, CMYK, 16-bit, grey."""
    folder = tmp_path / "bag"
    parts_of_the_photo(folder, "a.png", "b.png", "c.png", "d.jpg", "truncated.png")
    truncate(folder / "truncated.png")
    (folder / "text.png").write_text("I am no picture.\n" * 20)
    Image.fromarray(PHOTO[:3, :3]).save(folder / "tiny.png")
    Image.fromarray(PHOTO[200:328, 100:228]).convert("CMYK").save(folder / "cmyk.jpg")
    assert cv2.imwrite(str(folder / "deep.png"), PHOTO[200:328, 200:328].astype(np.uint16) * 257)
    Image.fromarray(PHOTO[300:428, 100:228]).convert("L").save(folder / "grey.png")
    return folder


def names_of(found: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    return {kind: [Path(name).name for name in files] for kind, files in found.items()}


MIXED_BAG = {
    "corrupt": ["truncated.png"],
    "not an image": ["text.png"],
    "too small": ["tiny.png"],
    "CMYK": ["cmyk.jpg"],
    "16-bit": ["deep.png"],
    "grey": ["grey.png"],
}


def test_everything_is_found(mixed_bag):
    report = inspect_folder(mixed_bag, None, scale=4, gt_size=32)
    assert names_of(report.found) == MIXED_BAG
    assert (report.images, report.bad, report.trains) == (10, 3, False)
    assert set(report.found) <= {*STOPS, *CONVERTED}


def small_run(folder: Path, workdir: Path, on_bad_image: str) -> dict[str, float]:
    config = quickstart.get_config()
    config.stages = ("psnr",)
    config.network_g.num_feat = 4
    config.network_g.num_block = 1
    config.network_g.num_grow_ch = 2
    config.psnr.steps = 8
    config.psnr.batch_size = 4
    config.psnr.gt_size = 32
    config.num_devices = 1
    config.log_every = 2
    config.evaluate_every = config.checkpoint_every = 0
    config.data.train = str(folder)
    parts_of_the_photo(workdir.parent / "held_out", "one.jpg")  # as PNG it were a copy of a.png
    config.data.validation = str(workdir.parent / "held_out")
    config.data.on_bad_image = on_bad_image
    return train_and_evaluate(config, workdir)


def test_pictures_of_other_formats_and_what_is_no_file(tmp_path, capsys):
    folder = tmp_path / "bag"
    parts_of_the_photo(folder, "f10.png", "f9.png", "f8.jpe")
    for name in ("d.gif", "e.heic", "sub/f.CR3", "._f9.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    assert main(["check-data", str(folder), "--gt-size", "32", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["trains"]) == (3, True)
    others = report["noted"]["other format"]
    assert others["count"] == 3
    assert others["files"][str(folder / "d.gif")].endswith("is a GIF and left out: save it as PNG or JPEG.")

    os.mkfifo(folder / "pipe.tif")
    (folder / "dead.bmp").symlink_to(tmp_path / "nothing")
    (folder / "loop").symlink_to(folder)
    (folder / "again.png").symlink_to("f9.png")
    report = inspect_folder(folder, None, scale=4, gt_size=32)
    assert names_of(report.found)["not an image"] == ["dead.bmp", "pipe.tif"]
    assert (report.images, report.bad) == (5, 2)
    for name in ("dead.bmp", "pipe.tif"):
        (folder / name).unlink()
    assert names_of(inspect_folder(folder, None, scale=4, gt_size=256).found)["too small"] == [
        "f8.jpe",
        "f9.png",
        "f10.png",
    ]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_tree_is_inspected_with_each_picture_once(seed):
    """Some pictures lie under two names, with equal pixels: none of those is a duplicate of itself."""
    with tree(seed) as root:
        files = find_images(root)
        if not files:
            return
        report = inspect_folder(root, None, scale=4, gt_size=4)
        pictures = reachable(root)
        assert (report.images, report.bad) == (len(files), len(files) - len(pictures))
        assert len(report.found.get("duplicate", {})) == max(0, len(pictures) - 1)
        if pictures:
            skipped = {}
            assert len(FolderSource(root, scale=4, skipped=skipped)) == len(pictures)
            assert len(skipped) == report.bad


def test_training_skips_and_counts_them(mixed_bag, tmp_path, capsys):
    (mixed_bag / "e.heic").write_bytes(b"")
    scores = small_run(mixed_bag, tmp_path / "run", "skip")
    assert scores["psnr_y"] > 0
    log = (tmp_path / "run/train.log").read_text()
    assert (
        "note      1 picture of other formats left out: e.heic (a HEIC picture: save it as PNG or JPEG" in log
    )
    assert "8 images to train on" in log  # text.png and tiny.png are found from their headers
    assert f"2 bad images are skipped: {mixed_bag / 'text.png'} is a text file" in log
    assert "3 bad images are skipped" in log
    assert f"{mixed_bag / 'truncated.png'} is incomplete or damaged" in log
    assert "psnr      8/8" in log


def test_training_stops_and_names_the_first(mixed_bag, tmp_path):
    for name in ("text.png", "tiny.png", "truncated.png"):  # in the order in which they are met
        with pytest.raises(DataError) as caught:
            small_run(mixed_bag, tmp_path / "run", "error")
        assert str(mixed_bag / name) in str(caught.value)
        (mixed_bag / name).unlink()


def test_pairs(tmp_path):
    names = [f"{name}.png" for name in ("fine", "alone", "twice", "lr_damaged", "lr_is_text")]
    parts_of_the_photo(tmp_path / "hr", *names)
    (tmp_path / "lr").mkdir()
    for name, side in (("fine", 32), ("twice", 64), ("lr_damaged", 32)):
        Image.fromarray(PHOTO[:side, :side]).save(tmp_path / f"lr/{name}x4.png")
    truncate(tmp_path / "lr/lr_damagedx4.png")
    (tmp_path / "lr/lr_is_textx4.png").write_text("hello")
    report = inspect_folder(tmp_path / "hr", tmp_path / "lr", scale=4, gt_size=32)
    assert names_of(report.found) == {
        "no LR image": ["alone.png"],
        "wrong scale": ["twice.png"],
        "corrupt": ["lr_damagedx4.png"],
        "not an image": ["lr_is_textx4.png"],
    }
    assert (report.images, report.bad) == (5, 4)
    report = inspect_folder(tmp_path / "hr", tmp_path / "lr", scale=4, gt_size=32, lr_template="{name}_4")
    assert len(report.found["no LR image"]) == 5


def test_kinds_that_are_converted(tmp_path):
    rgb = Image.fromarray(PHOTO[:64, :64])
    grey_as_rgb = np.repeat(PHOTO[:64, :64, :1], 3, axis=2)
    rgb.convert("RGBA").save(tmp_path / "rgba.png")
    rgb.convert("LA").save(tmp_path / "la.png")
    rgb.quantize(16).save(tmp_path / "palette.png")
    rgb.quantize(16).save(tmp_path / "key.png", transparency=3)
    Image.fromarray(grey_as_rgb).save(tmp_path / "equal.bmp")
    one_spot = grey_as_rgb.copy()
    one_spot[3, 5] = 255, 0, 0
    Image.fromarray(one_spot).save(tmp_path / "one_spot.png")
    cv2.imwrite(str(tmp_path / "deep_grey.tif"), PHOTO[:64, 64:128, 0].astype(np.uint16) * 200)
    rgb.save(tmp_path / "plain.webp", lossless=True)
    report = inspect_folder(tmp_path, None, scale=4, gt_size=32)
    assert {kind: set(names) for kind, names in names_of(report.found).items()} == {
        "alpha": {"rgba.png", "la.png", "key.png"},
        "grey": {"la.png", "equal.bmp", "deep_grey.tif"},
        "palette": {"palette.png", "key.png"},
        "16-bit": {"deep_grey.tif"},
        "duplicate": {"rgba.png", "palette.png"},  # of plain.webp, of key.png
    }
    assert report.trains


def test_duplicates_are_found_by_their_pixels(tmp_path):
    parts_of_the_photo(tmp_path, "a.png", "b.png")
    Image.open(tmp_path / "a.png").save(tmp_path / "c.bmp")
    wide = np.zeros((64, 128, 3), np.uint8)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide.reshape(128, 64, 3)).save(tmp_path / "high.png")
    report = inspect_folder(tmp_path, None, scale=4, gt_size=32)
    assert report.found["duplicate"] == {str(tmp_path / "c.bmp"): f"the same pixels as {tmp_path / 'a.png'}"}


# The command.


def test_command(mixed_bag, capsys):
    assert main(["check-data", str(mixed_bag), "--gt-size", "32"]) == 1
    text = capsys.readouterr().out
    for kind, [name] in MIXED_BAG.items():
        assert re.search(rf"^  {kind} +1\n    {re.escape(str(mixed_bag / name))}", text, re.MULTILINE), kind
    assert text.index("truncated.png") < text.index("only converted") < text.index("grey.png")
    assert "fix or remove 3 of the images" in text
    for name in ("truncated.png", "text.png", "tiny.png"):
        (mixed_bag / name).unlink()
    assert main(["check-data", str(mixed_bag), "--gt-size", "32"]) == 0
    assert capsys.readouterr().out.endswith("Training would run.\n")
    assert main(["check-data", str(mixed_bag), "--gt-size", "256"]) == 1
    text = capsys.readouterr().out
    assert "no image can be used" in text
    assert "... and 2 more" in text


def test_command_writes_json(mixed_bag, capsys):
    assert main(["check-data", str(mixed_bag), "--gt-size=32", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["bad"], report["trains"]) == (10, 3, False)
    assert report["stops"]["too small"] == {
        "count": 1,
        "files": {str(mixed_bag / "tiny.png"): "3x3 pixels"},
    }
    assert set(report["converted"]) == {"CMYK", "16-bit", "grey"}
    assert report["noted"] == {}


def test_command_says_what_training_does(tmp_path, capsys):
    """Exit code 0 if, and only if, every image can be read as a training pair."""
    parts_of_the_photo(tmp_path / "hr", "a.png", "b.png")
    parts_of_the_photo(tmp_path / "lr", "a.png", "b.png")  # as large as HR
    for lr, scale, code in ((None, 4, 0), ("lr", 1, 0), ("lr", 4, 1)):
        words = ["check-data", str(tmp_path / "hr"), f"--scale={scale}"] + (
            [f"--lr={tmp_path / lr}"] if lr else []
        )
        assert main(words) == code
        if code:
            with pytest.raises(DataError):
                FolderSource(tmp_path / "hr", tmp_path / lr, scale=scale)
        else:
            FolderSource(tmp_path / "hr", tmp_path / lr if lr else None, scale=scale)
    capsys.readouterr()


def test_command_refuses(tmp_path, capsys):
    for words, sentence, code in (
        ([str(tmp_path / "no")], "does not exist", 1),
        ([str(tmp_path)], "holds no image", 1),
        (["sample", "--lr", str(tmp_path)], "go with a folder of HR images, not with sample", 2),
        (["tfds:no_such_set"], "TFDS knows no data set", 1),
        ([str(tmp_path), "--scale=0"], "--scale (=0)", 2),
    ):
        assert main(["check-data", *words]) == code
        error = capsys.readouterr().err
        assert error.startswith("esrgan-jax check-data: ")
        assert sentence in error
        assert error.count("\n") == 1


def test_command_on_the_embedded_photos(capsys):
    assert main(["check-data", "sample"]) == 0
    assert capsys.readouterr().out.startswith("6 images, all of them read\n")
