"""Alpha, grey and other sizes through a network; planning of files."""

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.smooth_network import write_smooth_network
from helpers.trees import reachable, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.imaging import find_images
from esrgan_jax.imaging.metadata import Metadata
from esrgan_jax.imaging.picture import Picture
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.inference import Upscaler
from esrgan_jax.inference.batch.names import check_name, windows_problem
from esrgan_jax.inference.batch.tasks import plan_tasks
from esrgan_jax.inference.picture_upscaler import PictureUpscaler

ORANGE = np.array([250, 140, 20])


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory):
    return Upscaler.from_file(write_smooth_network(tmp_path_factory.mktemp("net") / "smooth.pth"), tile=64)


def soft_disk(size=48, radius=15.0, white=255):
    """Orange with a soft edge; where it is transparent, black, as most programs leave it."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    alpha = np.rint(np.clip(radius - np.hypot(x, y) + 0.5, 0, 3) / 3 * white)
    dtype = np.uint8 if white == 255 else np.uint16
    pixels = np.where(alpha[..., None] > 0, ORANGE * (white // 255), 0)
    return Picture(pixels.astype(dtype), alpha.astype(dtype))


def over(picture, background):
    white = np.iinfo(picture.pixels.dtype).max
    share = picture.alpha[..., None] / white
    return picture.pixels * share + background * white * (1 - share)


@pytest.mark.parametrize("alpha", ["model", "bicubic"])
@pytest.mark.parametrize("white", [255, 65535])
def test_no_dark_fringe_around_transparent_pictures(upscaler, alpha, white):
    larger = PictureUpscaler(upscaler, alpha)(soft_disk(white=white))
    assert larger.pixels.shape == (192, 192, 3)
    assert larger.pixels.dtype == larger.alpha.dtype == (np.uint8 if white == 255 else np.uint16)
    assert larger.alpha.max() == white  # the disk
    assert larger.alpha[:4].max() == 0  # and its surroundings
    soft = (larger.alpha > 0.02 * white) & (larger.alpha < 0.98 * white)
    assert soft.sum() > 500
    perfect = Picture(
        np.broadcast_to(ORANGE * (white // 255), larger.pixels.shape).astype(larger.pixels.dtype)
    )
    perfect = Picture(perfect.pixels, larger.alpha)
    for background in (0, 1):
        error = np.abs(over(larger, background) - over(perfect, background)) / white
        assert error[soft].max() < 1 / 255


def test_alpha_can_be_left_out(upscaler):
    larger = PictureUpscaler(upscaler, "none")(soft_disk())
    assert larger.alpha is None
    np.testing.assert_array_equal(larger.pixels, upscaler(soft_disk().pixels))


def test_bicubic_alpha_is_imresize_whatever_the_strips(upscaler):
    """Strips of several tiles are put together from pieces of the alpha."""
    picture = soft_disk(150, 60.0)
    larger = PictureUpscaler(upscaler, "bicubic")(picture)
    expected = np.clip(np.floor(imresize(picture.alpha.astype(np.float64), 4) + 0.5), 0, 255)
    np.testing.assert_array_equal(larger.alpha, expected)
    assert len(list(upscaler.strips(picture.pixels))) > 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_with_alpha(upscaler, dtype):
    grey = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (20, 30), dtype)
    alpha = np.full_like(grey, np.iinfo(dtype).max)
    alpha[5:, 5:] //= 2
    larger = PictureUpscaler(upscaler, "model")(Picture(grey, alpha, Metadata(xmp=b"x"), ("note",)))
    assert larger.metadata.xmp == b"x"
    assert larger.notes == ("note",)
    np.testing.assert_array_equal(larger.pixels, upscaler(grey))
    np.testing.assert_array_equal(larger.alpha, upscaler(alpha))


@pytest.mark.parametrize(
    ("outscale", "size"), [(3.5, (74, 109)), (0.5, (11, 16)), (4, (84, 124)), (1.1, (23, 34))]
)
def test_outscale(upscaler, outscale, size):
    """The nearest size, halves up: 21 * 3.5 = 73.5, 31 * 0.5 = 15.5."""
    picture = Picture(np.random.default_rng(0).integers(0, 65535, (21, 31, 3), np.uint16))
    enlarge = PictureUpscaler(upscaler, outscale=outscale)
    larger = enlarge(picture)
    assert larger.pixels.shape[:2] == enlarge.size(21, 31) == size
    expected = imresize(upscaler(picture.pixels).astype(np.float64), outscale / 4)[: size[0], : size[1]]
    assert np.abs(larger.pixels - np.clip(expected, 0, 65535)).max() <= 0.5


def test_nothing_is_smaller_than_a_pixel(upscaler):
    assert PictureUpscaler(upscaler, outscale=0.25)(Picture(np.full((1, 1), 9, np.uint8))).pixels.shape == (
        1,
        1,
    )


def test_tiles_are_counted(upscaler):
    for alpha, picture in (("model", soft_disk(100)), ("bicubic", soft_disk(100)), ("none", soft_disk(100))):
        enlarge = PictureUpscaler(upscaler, alpha)
        seen = []
        enlarge(picture, lambda done, total, seen=seen: seen.append((done, total)))
        assert len(seen) == seen[-1][0] == seen[-1][1] == enlarge.tile_count(100, 100, has_alpha=True)


# ---- which files


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for name in ("a.png", "b.JPG", "sub/c.bmp", "sub/deep/d.webp", "notes.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path.with_suffix(".png")), np.zeros((2, 2, 3), np.uint8))
        path.with_suffix(".png").rename(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(*inputs, output="out", **options):
    return [(str(job.source), str(job.destination)) for job in plan_tasks(inputs, output, **options).tasks]


def test_a_folder_keeps_its_tree(photos):
    assert plan("photos", suffix="_x4") == [
        ("photos/a.png", "out/a_x4.png"),
        ("photos/b.JPG", "out/b_x4.JPG"),
        ("photos/sub/c.bmp", "out/sub/c_x4.png"),  # BMP is not written
        ("photos/sub/deep/d.webp", "out/sub/deep/d_x4.webp"),
    ]


def test_files_and_patterns_go_right_into_the_folder(photos):
    assert plan("photos/**/*.webp", "photos/a.png", "photos/a.png", format="tiff") == [
        ("photos/sub/deep/d.webp", "out/d.tiff"),
        ("photos/a.png", "out/a.tiff"),
    ]


def test_one_file_may_name_its_result(photos):
    assert plan("photos/a.png", output="new/b.jpg") == [("photos/a.png", "new/b.jpg")]
    assert plan("photos/a.png", output="out.v2/") == [("photos/a.png", "out.v2/a.png")]
    (photos / "v1.0").mkdir()
    assert plan("photos/a.png", output="v1.0") == [("photos/a.png", "v1.0/a.png")]
    assert plan("photos/*.png", output="out.png") == [("photos/a.png", "out.png/a.png")]


def test_earlier_results_are_no_inputs(photos):
    (photos / "photos/large").mkdir()
    (photos / "photos/a.png").rename(photos / "photos/large/a.png")
    assert "photos/large/a.png" not in dict(plan("photos", output="photos/large"))


def test_frames_come_in_their_order(photos):
    Path("photos/a.png").rename("photos/f10.png")
    for name in ("f9", "f1"):
        Path(f"photos/{name}.png").write_bytes(b"")
    wanted = ["out/b.JPG", "out/f1.png", "out/f9.png", "out/f10.png", "out/sub/c.png", "out/sub/deep/d.webp"]
    assert [destination for _, destination in plan("photos")] == wanted
    assert [destination for _, destination in plan("photos/f*.png")] == wanted[1:4]


@pytest.mark.parametrize("suffix", ["_x4", "-large", ".2"])
def test_results_beside_their_inputs_are_no_inputs(photos, suffix):
    options = {"output": "photos", "suffix": suffix}
    first = plan("photos", **options)
    for _, destination in first:
        Path(destination).write_bytes(b"")
    assert plan("photos", **options, skip_existing=True) == first
    assert plan("photos/*.*", *(name for job in first for name in job), **options, skip_existing=True)
    assert "if it is an earlier result, add --skip-existing" in refused("photos", **options)
    Path(f"photos/z{suffix}.png").write_bytes(b"")  # the result of nothing that is there
    assert (f"photos/z{suffix}.png", f"photos/z{suffix}{suffix}.png") in plan(
        "photos", **options, skip_existing=True
    )


def test_pictures_of_other_formats_are_said(photos):
    for name in ("x.psd", "sub/y.exr", "z.jfif", "q.gif"):
        Path("photos", name).write_bytes(b"")
    jobs, others = plan_tasks(["photos"], "out")
    assert [str(path) for path in others] == ["photos/sub/y.exr", "photos/x.psd"]
    assert {"out/z.jfif", "out/q.png"} <= {str(job.destination) for job in jobs}
    for name in ("only/x.psd", "only/y.psd"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"")
    assert "2 pictures of other formats left out: x.psd, y.psd (a Photoshop document" in refused("only")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_tree_is_planned_with_each_picture_once(seed):
    with tree(seed) as root:
        if not find_images(root):
            return
        for output in (root.parent / "out", root):
            try:
                jobs = plan_tasks([str(root), str(root)], str(output), suffix="_x4", skip_existing=True).tasks
            except (
                ConfigError
            ) as error:  # a.png and a link a.png/: both become one file, or none is a picture
                assert "would both become" in str(error)
                continue
            sources = [os.path.realpath(job.source) for job in jobs if job.source.is_file()]
            assert set(map(str, reachable(root))) <= set(sources)
            assert len(sources) == len(set(sources))


def test_what_is_no_file_is_planned_and_fails_by_name_later(photos):
    os.mkfifo("photos/pipe.png")
    Path("photos/dead.png").symlink_to("nothing")
    Path("photos/loop").symlink_to(".")
    assert ("photos/pipe.png", "out/pipe.png") in plan("photos")
    assert plan("photos/dead.png", output="b.png") == [("photos/dead.png", "b.png")]
    assert plan("photos/[dp]*.png") == [
        ("photos/dead.png", "out/dead.png"),
        ("photos/pipe.png", "out/pipe.png"),
    ]


# ---- names that cannot be written


@pytest.mark.parametrize(
    "name",
    [
        "CON",
        "con.png",
        "Aux.tar.png",
        "nul .txt",
        "com1.jpg",
        "LPT9",
        "lpt².png",
        "a.",
        "a ",
        "a?b.png",
        "a:b",
        "a\tb",
    ],
)
def test_names_that_windows_has_not(name):
    assert windows_problem(name)


@pytest.mark.parametrize(
    "name", ["console.png", "a.con", "com10.png", "auxiliary", "a.b", " a", "ö.png", ".png", "lpt.png"]
)
def test_names_that_windows_has(name):
    assert windows_problem(name) is None


def test_names_that_cannot_be_written_here(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in {
        "x" * 260: "File name too long",
        "folder.png": "it is a folder",
        "file/a.png": "Not a directory",
        "loop/a.png": "Too many levels of symbolic links",
    }.items():
        with pytest.raises(
            DataError, match=re.escape(f"{tmp_path / name} cannot be written ({reason}): rename")
        ):
            check_name(tmp_path / name)
    for name in ("x" * 251 + ".png", "new/folder/a.png", "file"):
        check_name(tmp_path / name)


def refused(*inputs, output="out", **options):
    with pytest.raises(ConfigError) as caught:
        plan_tasks(inputs, output, **options)
    message = str(caught.value)
    assert re.search(r"\.$", message)
    assert "\n" not in message
    return message


def test_what_cannot_be_planned(photos):
    assert "missing.png does not exist" in refused("photos/a.png", "missing.png")
    assert "*.gif" in refused("photos/*.gif")
    (photos / "empty").mkdir()
    assert "empty contains no pictures (.png, " in refused("empty")
    assert "ends in .gif" in refused("photos/a.png", output="a.gif")
    assert "--format" in refused("photos/a.png", output="a.jpg", format="png")
    assert "--suffix" in refused("photos/a.png", output="a.jpg", suffix="_x4")


def test_inputs_are_never_overwritten(photos):
    assert "overwrite the input photos/a.png" in refused("photos", output="photos")
    assert "overwrite" in refused("photos/a.png", output="photos/a.png")
    Path("linked").symlink_to("photos")
    assert "overwrite" in refused("photos/a.png", output="linked/a.png")
    Path("hard.png").hardlink_to("photos/a.png")
    assert "overwrite" in refused("photos/a.png", output="hard.png")
    assert plan("photos/a.png", output="photos", suffix="_x4") == [("photos/a.png", "photos/a_x4.png")]


def test_a_picture_of_a_format_that_is_not_written_makes_way(photos):
    for name in ("a.gif", "sub/c.gif", "e.gif"):
        Path("photos", name).write_bytes(b"")
    jobs = {str(job.source): job for job in plan_tasks(["photos"], "out").tasks}
    assert jobs["photos/a.gif"].problem.startswith(
        "photos/a.gif and photos/a.png would both become out/a.png. "
    )
    assert "photos/sub/c.bmp would both become out/sub/c.png" in jobs["photos/sub/c.gif"].problem
    assert [name for name, job in jobs.items() if job.problem] == ["photos/a.gif", "photos/sub/c.gif"]


def test_two_inputs_never_share_a_result(photos):
    (photos / "other").mkdir()
    (photos / "other/a.webp").write_bytes(b"")
    assert "would both become out/a.png" in refused("photos/a.png", "other/a.webp", format="png")
