import re
import shutil

import pytest
from helpers.commands import write_picture

from esrgan_jax.data.overlap import check_overlap
from esrgan_jax.data.sources import open_pairs
from esrgan_jax.errors import DataError


@pytest.fixture
def folders(tmp_path):
    for folder, sizes in (("train", (24, 25, 26)), ("held_out", (27, 28))):
        for size in sizes:
            write_picture(tmp_path / folder / f"{size}.png", size)
    return tmp_path / "train", tmp_path / "held_out"


def check(train, held_out):
    check_overlap(
        open_pairs(train, split="train", scale=2, weights=(1,)),
        open_pairs(held_out, split="validation", scale=2),
    )


def test_different_pictures(folders):
    check(*folders)
    check(folders[0], "sample")


def test_one_folder_for_both(folders):
    with pytest.raises(DataError, match=r"overlap in 3 pictures: .*24\.png, .*25\.png, .*26\.png\. Take"):
        check(folders[0], folders[0])


def test_copies_and_links(folders):
    train, held_out = folders
    shutil.copy(train / "24.png", held_out / "copy.png")
    (held_out / "link.png").symlink_to(train / "25.png")
    text = f"overlap in 2 pictures: {held_out}/copy.png (a copy of {train}/24.png), {held_out}/link.png. Take"
    with pytest.raises(DataError, match=re.escape(text)):
        check(train, held_out)


def test_long_lists_are_cut(folders):
    train, held_out = folders
    for number in range(7):
        shutil.copy(train / "24.png", held_out / f"{number}.png")
    with pytest.raises(DataError, match=r"overlap in 7 pictures: .* and 2 more\. Take"):
        check(train, held_out)
