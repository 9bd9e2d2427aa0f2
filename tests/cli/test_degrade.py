"""`esrgan-jax degrade` as people use it."""

import functools
from pathlib import Path

import numpy as np
import pytest

from esrgan_jax.cli.main import main
from esrgan_jax.degradation import options
from esrgan_jax.degradation.photos import PATCH, cut_patch, find_photos
from esrgan_jax.errors import ConfigError
from esrgan_jax.imaging.rgb_files import image_size, read_rgb


def test_pairs_and_sheet(tmp_path, write_image, monkeypatch, capsys):
    # One canvas instead of three: a third of the compilation.
    small = functools.partial(options.DegradationOptions, resize_range=(0.6, 1))
    monkeypatch.setattr(options, "DegradationOptions", small)
    photos, out = tmp_path / "photos", tmp_path / "pairs"
    large = write_image(photos / "summer" / "large.png", 410, 430)
    write_image(photos / "wide.jpg", 90, 500)
    write_image(photos / "a.png", 400, 400, np.full((400, 400, 3), 90, np.uint8))
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    assert main(["degrade", str(photos), str(out), "--seed", "5", "--scale", "2"]) == 1
    output = capsys.readouterr()
    assert output.out.startswith(f"3 pairs in {out}/HR and LR;")
    assert "broken.png" in output.err
    names = {"a.png", "wide.png", "summer/large.png"}
    found = {
        kind: {path.relative_to(out / kind).as_posix(): read_rgb(path) for path in (out / kind).rglob("*.*")}
        for kind in ("HR", "LR")
    }
    for kind, side in (("HR", 256), ("LR", 128)):
        assert {name: image.shape for name, image in found[kind].items()} == dict.fromkeys(
            names, (side, side, 3)
        )
    windows = np.lib.stride_tricks.sliding_window_view(large, (256, 256, 3))[:, :, 0]
    corners = np.argwhere((windows[:, :, 0, 0] == found["HR"]["summer/large.png"][0, 0]).all(-1))
    assert any((windows[y, x] == found["HR"]["summer/large.png"]).all() for y, x in corners)
    assert (found["HR"]["a.png"] == 90).all()
    assert abs(found["LR"]["a.png"].mean() - 90) < 10
    height, width = image_size(out / "contact_sheet.png")
    assert width > 4 * 256
    assert height > 2 * 256


def test_patch_of_a_photo():
    image = np.arange(150 * 700 * 3, dtype=np.uint32).reshape(150, 700, 3).astype(np.uint8)
    patch = cut_patch(image, 3, 8)
    assert patch.shape == (PATCH, PATCH, 3)
    np.testing.assert_array_equal(patch, cut_patch(image, 3, 8))
    assert (patch != cut_patch(image, 4, 8)).any()
    np.testing.assert_array_equal(patch[149 + 40], patch[149 - 40])  # reflected, the edge once
    np.testing.assert_array_equal(patch[298 + 20], patch[20])


@pytest.mark.parametrize(
    ("photos", "sentence"),
    [("nothing", "does not exist"), ("empty", "contains no pictures"), ("twice", "would both become a.png")],
)
def test_photos_that_cannot_be(tmp_path, write_image, photos, sentence):
    (tmp_path / "empty").mkdir()
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / "twice" / name)
    with pytest.raises(ConfigError, match=sentence):
        find_photos(tmp_path / photos, tmp_path / "out")


def test_results_are_no_photos(tmp_path, write_image):
    """So no photo is overwritten, and a second time finds the same photos as the first."""
    out = tmp_path / "out"
    write_image(out / "HR" / "a.png")
    for photos in (tmp_path, out / "HR", out / "HR" / "a.png"):
        with pytest.raises(ConfigError, match="lies in the output folder"):
            find_photos(photos, out)
    write_image(tmp_path / "b.jpg")
    assert find_photos(tmp_path, out) == [(tmp_path / "b.jpg", Path("b.png"))]


def test_seed(capsys):
    assert main(["degrade", "photos", "pairs", "--seed", "-1"]) == 2
    assert "--seed (=-1) must be from 0" in capsys.readouterr().err
