"""Folders laid out as the well-known test sets are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.evaluation.test_sets import SET_LAYOUTS, open_test_set
from esrgan_jax.imaging import imresize

LAID_OUT = {
    "BasicSR": ("Set5/GTmod12/{name}.png", "Set5/LRbicx{scale}/{name}.png"),
    "EDSR": ("Set5/HR/{name}.png", "Set5/LR_bicubic/X{scale}/{name}x{scale}.png"),
    "DIV2K": ("Set5/DIV2K_valid_HR/{name}.png", "Set5/DIV2K_valid_LR_bicubic/X{scale}/{name}x{scale}.png"),
    "super-image": ("Set5/Set5_HR/{name}.png", "Set5/Set5_LR_x{scale}/{name}.png"),
    "Huang": (
        "Set5/image_SRF_{scale}/img_{name}_SRF_{scale}_HR.png",
        "Set5/image_SRF_{scale}/img_{name}_SRF_{scale}_LR.png",
    ),
}
"""The files themselves, written down anew: the package's table is what is tested."""


def lay_out(root, layout, write_image, scales=(2, 4), names=("001", "002", "003", "004", "005")):
    """Writes a set; each LR image is flat in its own grey, so that it can be told from one that is made."""
    hr_path, lr_path = LAID_OUT[layout]
    for level, name in enumerate(names):
        for scale in scales:
            write_image(root / hr_path.format(name=name, scale=scale), 24, 36)
            lr = np.full((24 // scale, 36 // scale, 3), 10 * scale + level, np.uint8)
            write_image(root / lr_path.format(name=name, scale=scale), image=lr)
    return root / "Set5"


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("layout", LAID_OUT)
def test_sets_are_recognised(tmp_path, write_image, layout, scale):
    folder = lay_out(tmp_path, layout, write_image)
    images = open_test_set(str(folder), scale=scale)
    assert len(images.source) == len(images.names) == 5
    for index in range(5):
        pair = images.source[index]
        assert pair["hr"].shape == (24, 36, 3)
        assert np.unique(pair["lr"]).tolist() == [10 * scale + index]
        assert images.source.name(index).endswith(images.names[index])
        assert images.source.hr_size(index) == (24, 36)
    hr_path, lr_path = (
        tmp_path / Path(path.format(name="", scale=scale)).parent for path in LAID_OUT[layout]
    )
    assert images.hr == f"5 of {hr_path}: Set5 as {layout} has it"
    assert images.lr == str(lr_path)
    assert images.folders == [hr_path, lr_path]
    assert images.published == ((28.42, 0.8104) if scale == 4 else None)


def test_the_table_of_layouts_is_tested_whole():
    assert {*SET_LAYOUTS, "Huang"} == LAID_OUT.keys()


def test_huangs_folder_itself(tmp_path, write_image):
    folder = lay_out(tmp_path, "Huang", write_image)
    images = open_test_set(str(folder / "image_SRF_4"), scale=4)
    assert "Set5 as Huang has it" in images.hr
    assert images.names[0] == "img_001_SRF_4_HR.png"


def test_huangs_results_of_other_methods_are_left_alone(tmp_path, write_image):
    folder = lay_out(tmp_path, "Huang", write_image)
    write_image(folder / "image_SRF_4" / "img_001_SRF_4_SelfExSR.png")
    assert len(open_test_set(str(folder), scale=4).source) == 5


def test_another_number_of_images_is_said_and_compared_with_nothing(tmp_path, write_image):
    folder = lay_out(tmp_path, "BasicSR", write_image, names=("001", "002"))
    images = open_test_set(str(folder), scale=4)
    assert images.hr.endswith("Set5 as BasicSR has it, which should be 5")
    assert images.published is None


def test_other_names_of_a_set(tmp_path, write_image):
    lay_out(tmp_path, "BasicSR", write_image).rename(tmp_path / "B100")
    assert (
        ": BSD100 as BasicSR has it, which should be 100" in open_test_set(str(tmp_path / "B100"), scale=4).hr
    )


def test_without_lr_of_this_scale_it_is_made(tmp_path, write_image):
    images = open_test_set(str(lay_out(tmp_path, "BasicSR", write_image)), scale=3)
    assert "GTmod12" in images.hr
    assert images.lr == "made by MATLAB's bicubic from HR cropped to multiples of 3"
    pair = images.source[0]
    np.testing.assert_array_equal(pair["lr"], imresize(pair["hr"], 1 / 3))


def test_a_folder_called_hr_is_no_test_set_by_itself(tmp_path, write_image):
    for folder in ("HR", "LR"):
        write_image(tmp_path / "mine" / folder / "a.png")
    assert open_test_set(str(tmp_path / "mine"), scale=4).hr == f"2 of {tmp_path / 'mine'}"


def test_with_lr_the_folder_is_taken_as_it_is(tmp_path, write_image):
    folder = lay_out(tmp_path, "BasicSR", write_image, scales=(4,))
    images = open_test_set(str(folder / "GTmod12"), str(folder / "LRbicx4"), scale=4)
    assert images.hr == f"5 of {folder / 'GTmod12'}"
    assert images.lr == str(folder / "LRbicx4")
    assert np.unique(images.source[4]["lr"]).tolist() == [44]


def test_lr_names_by_a_template(tmp_path, write_image):
    write_image(tmp_path / "HR" / "a.png", 24, 36)
    write_image(tmp_path / "LR" / "a_LRBI_x4.png", image=np.full((6, 9, 3), 7, np.uint8))
    options = {"scale": 4, "lr_template": "{name}_LRBI_x4"}
    images = open_test_set(str(tmp_path / "HR"), str(tmp_path / "LR"), **options)
    assert np.unique(images.source[0]["lr"]).tolist() == [7]


def test_names_are_paths_below_the_common_folder(tmp_path, write_image, monkeypatch):
    for name in ("people/a.png", "people/b.png", "trees/a.png"):
        write_image(tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    assert open_test_set("photos", scale=4).names == ["people/a.png", "people/b.png", "trees/a.png"]
    assert open_test_set("photos/people", scale=4).names == ["a.png", "b.png"]
    assert open_test_set("sample", scale=4).names == ["chelsea.png"]


def test_several_sets_are_refused(tmp_path, write_image):
    lay_out(tmp_path, "BasicSR", write_image)
    with pytest.raises(ConfigError, match=r"holds test sets \(Set5\): evaluate one at a time, as .*/Set5\."):
        open_test_set(str(tmp_path), scale=4)


def test_what_is_wrong_with_huangs_pairs_is_said(tmp_path, write_image):
    folder = lay_out(tmp_path, "Huang", write_image) / "image_SRF_4"
    write_image(folder / "img_005_SRF_4_LR.png", image=np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(
        DataError, match=r"img_005_SRF_4_LR\.png \(8x6 pixels\) is not .*36x24 pixels.* shrunk 4"
    ):
        open_test_set(str(folder), scale=4)
    (folder / "img_005_SRF_4_LR.png").unlink()
    with pytest.raises(DataError, match=r"img_005_SRF_4_HR\.png has no LR image: .*img_005_SRF_4_LR\.png"):
        open_test_set(str(folder), scale=4)
    for file in folder.glob("*_HR.png"):
        file.unlink()
    with pytest.raises(DataError, match=r"holds no image whose name ends in _HR"):
        open_test_set(str(folder), scale=4)


def test_grey_images_are_read_as_rgb(tmp_path, write_image):
    folder = lay_out(tmp_path, "Huang", write_image, names=("001",))
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    pair = open_test_set(str(folder), scale=4).source[0]
    assert pair["hr"].shape == (24, 36, 3)
    assert pair["lr"].shape == (6, 9, 3)
