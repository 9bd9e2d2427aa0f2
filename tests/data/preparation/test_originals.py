"""Files of folders as originals; tests/data/preparation/test_div2k.py has those of zip files."""

from __future__ import annotations

import os

import numpy as np
import pytest

from esrgan_jax.data.preparation.originals import folder_originals
from esrgan_jax.errors import DataError


def test_folders_with_partners(tmp_path, write_image):
    hr = write_image(tmp_path / "hr/a/b.png", 25, 34)
    lr = write_image(tmp_path / "lr/a/bx4.png", 7, 9)
    write_image(tmp_path / "hr/c.png", 24, 32)
    pair, single = folder_originals(tmp_path / "hr", tmp_path / "lr", 4)
    read_hr, read_lr = pair.read(4)
    np.testing.assert_array_equal(read_hr.image, hr)
    np.testing.assert_array_equal(read_lr.image, lr)
    assert read_hr.data == (tmp_path / "hr/a/b.png").read_bytes()
    with pytest.raises(DataError, match=r"c\.png has no LR image"):
        single.read(4)


def test_a_template_of_names(tmp_path, write_image):
    write_image(tmp_path / "hr/b.png", 24, 32)
    lr = write_image(tmp_path / "lr/b_small.png", 6, 8)
    [original] = folder_originals(tmp_path / "hr", tmp_path / "lr", 4, "{name}_small")
    np.testing.assert_array_equal(original.read(4)[1].image, lr)


def test_what_cannot_be_used(tmp_path, write_image):
    write_image(tmp_path / "hr/small.png", 3, 50)
    write_image(tmp_path / "hr/wrong.png", 24, 32)
    write_image(tmp_path / "lr/small.png", 1, 13)
    write_image(tmp_path / "lr/wrong.png", 12, 16)
    small, wrong = folder_originals(tmp_path / "hr", tmp_path / "lr", 4)
    with pytest.raises(DataError, match=r"small\.png has 50x3 pixels, too few to be shrunk 4 times"):
        small.read(4)
    with pytest.raises(
        DataError, match=r"lr/wrong\.png \(16x12 pixels\) is not .*hr/wrong\.png \(32x24 pixels\)"
    ):
        wrong.read(4)


def test_the_identity_changes_with_the_file_and_not_with_the_folder(tmp_path, write_image):
    file = tmp_path / "hr/a.png"
    write_image(file)
    [original] = folder_originals(tmp_path / "hr", None, 4)
    before = original.identity()
    (tmp_path / "hr").rename(tmp_path / "moved")
    [moved] = folder_originals(tmp_path / "moved", None, 4)
    assert moved.identity() == before
    os.utime(tmp_path / "moved/a.png", ns=(1, 1))
    assert moved.identity() != before
    (tmp_path / "moved/a.png").unlink()
    assert moved.identity() != before  # and no exception: reading it says what is wrong
    with pytest.raises(DataError, match=r"a\.png cannot be opened \(No such file"):
        moved.read(4)


def test_pictures_of_other_formats_are_said(tmp_path, write_image, capsys):
    write_image(tmp_path / "hr/a.png", 24, 32)
    (tmp_path / "hr/b.avif").write_bytes(b"")
    assert len(folder_originals(tmp_path / "hr", None, 4)) == 1
    assert "note      1 picture of other formats left out: b.avif (an AVIF picture" in capsys.readouterr().err
