"""What a configuration names is what is opened, and patches fit."""

from __future__ import annotations

import subprocess
import sys

import pytest

from esrgan_jax.data.folder import FolderSource
from esrgan_jax.data.samples import SampleSource
from esrgan_jax.data.sources import Mixture, check_patch_sizes, describe_skipped, open_pairs
from esrgan_jax.errors import ConfigError, DataError


def test_sample():
    source = open_pairs("sample", split="validation", scale=4)
    assert isinstance(source, SampleSource)
    assert source.name(0) == "chelsea.png"


def test_folder_with_and_without_lr(tmp_path, write_image):
    write_image(tmp_path / "hr/a.png", 24, 32)
    lr = write_image(tmp_path / "lr/a.png", 6, 8)
    for split in ("train", "validation"):
        source = open_pairs(str(tmp_path / "hr"), split=split, scale=4)
        assert isinstance(source, FolderSource)
        assert source[0]["lr"].shape == (6, 8, 3)
    source = open_pairs(tmp_path / "hr", split="train", scale=4, lr=tmp_path / "lr")
    assert (source[0]["lr"] == lr).all()


def test_folder_called_sample(tmp_path, write_image, monkeypatch):
    write_image(tmp_path / "sample/a.png")
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_pairs("./sample", split="train", scale=4), FolderSource)


def test_tfds_not_prepared(tmp_path):
    with pytest.raises(DataError, match="tfds:div2k/bicubic_x4 is not prepared"):
        open_pairs("tfds:div2k/bicubic_x4", split="train", scale=4, data_dir=tmp_path)


@pytest.mark.parametrize("spec", ["sample", "tfds:div2k/bicubic_x4"])
def test_lr_folder_needs_an_hr_folder(spec):
    with pytest.raises(
        ConfigError, match=r"LR images \(some/lr\) goes with a folder of HR images, not with " + spec
    ):
        open_pairs(spec, split="train", scale=4, lr="some/lr")


def test_misspelt_spec_says_what_there_is():
    with pytest.raises(DataError, match=r"tfd:div2k does not exist: name a folder .* tfds:NAME .* or sample"):
        open_pairs("tfd:div2k", split="train", scale=4)


def test_image_smaller_than_the_patch_is_named(tmp_path, write_image):
    write_image(tmp_path / "good.png", 64, 64)
    write_image(tmp_path / "small.png", 40, 100)
    source = open_pairs(tmp_path, split="train", scale=4)
    check_patch_sizes(source, 40)
    with pytest.raises(DataError) as caught:
        check_patch_sizes(source, 48)
    assert f"{tmp_path / 'small.png'} has 100x40 pixels, too few for a training patch of 48x48" in str(
        caught.value
    )
    assert "smaller gt_size, remove the image, or skip" in str(caught.value)


def test_small_images_are_skipped_and_described(tmp_path, write_image):
    for number in range(5):
        write_image(tmp_path / f"{number}.png", 64 if number == 2 else 40 + number, 100)
    source = open_pairs(tmp_path, split="train", scale=4)
    skipped: dict[str, str] = {}
    check_patch_sizes(source, 48, skipped)
    assert list(skipped) == [str(tmp_path / f"{number}.png") for number in (0, 1, 3, 4)]
    text = describe_skipped(skipped)
    assert text.startswith(f"4 bad images are skipped, most recently: {tmp_path / '1.png'} has 100x41 pixels")
    assert text.count("too few") == 3
    assert describe_skipped({"a": "a is bad."}) == "1 bad image is skipped: a is bad."
    with pytest.raises(DataError, match=r"4\.png has 100x44 pixels"):
        check_patch_sizes(source, 96, {})


# Several sources.


def test_several_sources_are_mixed(tmp_path, write_image):
    write_image(tmp_path / "one/a.png", 24, 32)
    write_image(tmp_path / "two/b.png", 24, 32)
    lr = write_image(tmp_path / "lr/bx4.png", 6, 8)
    spec = f"{tmp_path}/one, sample,{tmp_path}/two"
    source = open_pairs(spec, split="train", scale=4, lr=f",,{tmp_path}/lr", weights=(1, 2, 3))
    assert isinstance(source, Mixture)
    assert source.sizes == [1, 6, 1]
    assert source.weights == [1, 2, 3]
    assert source.name(1) == "astronaut.png"
    assert (source[7]["lr"] == lr).all()


def test_a_comma_in_the_name_of_a_folder(tmp_path, write_image):
    write_image(tmp_path / "one,two/a.png", 24, 32)
    assert isinstance(open_pairs(f"{tmp_path}/one,two", split="train", scale=4), FolderSource)


def test_weights_and_lr_folders_are_as_many_as_sources(tmp_path, write_image):
    for name in ("one", "two"):
        write_image(tmp_path / name / "a.png", 24, 32)
    spec = f"{tmp_path}/one,{tmp_path}/two"
    with pytest.raises(ConfigError, match=r"names 1 LR folders, but .* is 2 sources"):
        open_pairs(spec, split="train", scale=4, lr=str(tmp_path / "one"))
    with pytest.raises(ConfigError, match=r"train_weights \(=\(1,\)\)"):
        open_pairs(spec, split="train", scale=4, weights=(1,))
    with pytest.raises(ConfigError, match="goes with a folder of HR images, not with sample"):
        open_pairs(f"{tmp_path}/one,sample", split="train", scale=4, lr=f",{tmp_path}/two")
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_pairs(f"{tmp_path}/one,nowhere", split="train", scale=4)


def test_bad_images_of_a_folder_are_skipped(tmp_path, write_image):
    write_image(tmp_path / "a.png", 24, 32)
    (tmp_path / "b.png").write_text("hello")
    skipped: dict[str, str] = {}
    assert len(open_pairs(tmp_path, split="train", scale=4, skipped=skipped)) == 1
    assert list(skipped) == [str(tmp_path / "b.png")]


def test_importing_the_room_imports_neither_grain_nor_tfds():
    code = (
        "import sys, esrgan_jax.data\n"
        "assert not any(name.startswith('esrgan_jax.data.') for name in sys.modules)\n"
        "import esrgan_jax.data.sources\n"
        "assert not {'grain', 'tensorflow_datasets', 'tensorflow', 'jax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
