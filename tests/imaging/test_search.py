"""Finding and opening pictures in folders of any shape: each once, nothing waits, nothing but files is opened."""

import errno
import os
import random
import re
import time
from pathlib import Path

import pytest
from helpers.trees import reachable, tree, write_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import IMAGE_SUFFIXES, find_images, image_size, read_rgb
from esrgan_jax.imaging.read_picture import read_picture
from esrgan_jax.imaging.search import natural_key, search_folder

SECONDS = 10


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_each_picture_once_in_any_tree(seed):
    with tree(seed) as root:
        start = time.perf_counter()
        found = find_images(root)
        assert found == sorted(found) == find_images(root)
        pictures = [path for path in found if path.is_file()]
        assert sorted(os.path.realpath(path) for path in pictures) == sorted(map(str, reachable(root)))
        for path in pictures:
            assert image_size(path) == (4, 5)
        for path in set(found) - set(pictures):
            for read in (read_rgb, image_size, read_picture):
                with pytest.raises(DataError, match=re.escape(str(path))):
                    read(path)
        assert time.perf_counter() - start < SECONDS


def names(folder):
    return [path.relative_to(folder).as_posix() for path in find_images(folder)]


def test_a_pictures_own_path_counts(tmp_path):
    write_picture(tmp_path / "root/z/b.png")
    (tmp_path / "root/a").symlink_to("z")
    (tmp_path / "root/a.png").symlink_to("z/b.png")
    assert names(tmp_path / "root") == ["z/b.png"]
    write_picture(tmp_path / "elsewhere/c.png")
    for name in ("later", "earlier"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/d.png").symlink_to(tmp_path / "elsewhere/c.png")
    assert names(tmp_path / "root") == ["earlier/c.png", "z/b.png"]


def test_folders_that_systems_keep_for_themselves(tmp_path):
    for folder in (
        "@eaDir/a.png",
        "sub/__MACOSX",
        "$Recycle.Bin/S-1",
        "#recycle",
        "lost+found",
        "@home",
        "#2",
    ):
        write_picture(tmp_path / "set" / folder / "a.png")
    assert names(tmp_path / "set") == ["#2/a.png", "@home/a.png"]
    assert names(tmp_path / "set/@eaDir") == ["a.png/a.png"]  # who asks for one by its name gets it


def test_hard_links_are_files_of_their_own(tmp_path):
    write_picture(tmp_path / "f1.png")
    try:
        (tmp_path / "f2.png").hardlink_to(tmp_path / "f1.png")
    except OSError:
        pytest.skip("no hard links on this system")
    assert names(tmp_path) == ["f1.png", "f2.png"]


def test_a_link_upwards_does_not_lead_out(tmp_path):
    write_picture(tmp_path / "private.png")
    write_picture(tmp_path / "set/a.png")
    (tmp_path / "set/up").symlink_to("..")
    (tmp_path / "set/everything").symlink_to("/")
    start = time.perf_counter()
    assert names(tmp_path / "set") == ["a.png"]
    assert time.perf_counter() - start < SECONDS


def test_other_formats_are_kept_apart(tmp_path):
    for name in ("a.png", "b.gif", "c.HEIC", "d.psd", "e.txt", "f.mp4", ".g.gif", "sub/h.exr"):
        write_picture(tmp_path / name)
    found = search_folder(tmp_path)
    assert [path.name for path in found.others] == ["b.gif", "c.HEIC", "d.psd", "h.exr"]
    found = search_folder(tmp_path, (*IMAGE_SUFFIXES, ".gif"))
    assert [path.name for path in found.images] == ["a.png", "b.gif"]


def forbid(monkeypatch, folder):
    scandir = os.scandir

    def refuse(path="."):
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_folder_that_cannot_be_read_fails_by_name(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.png")
    (tmp_path / "secret").mkdir()
    forbid(monkeypatch, tmp_path / "secret")
    assert names(tmp_path) == ["a.png", "secret"]
    with pytest.raises(DataError, match=r"secret is a folder that cannot be read \(Permission denied\)"):
        read_rgb(tmp_path / "secret")
    forbid(monkeypatch, tmp_path)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\): check its permissions"):
        find_images(tmp_path)


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "dead.png").symlink_to("moved.png")
    (tmp_path / "self.png").symlink_to("self.png")
    for name, sentence in {
        "pipe.png": "is a pipe, which may never end: save what comes as a file, and give that",
        "zero.png": "is a device",
        "dead.png": "is a link to moved.png, which does not exist: mend or remove it",
        "self.png": "is a link that leads back to itself: remove it",
        "missing.png": "cannot be opened (No such file or directory): check the path",
        "x" * 300: "cannot be opened (File name too long): check the path",
    }.items():
        for read in (read_rgb, image_size, read_picture):
            with pytest.raises(DataError, match=re.escape(f"{tmp_path / name} {sentence}")):
                read(tmp_path / name)


def test_numbers_count_by_their_values():
    wanted = [
        "f2/a.png",
        "f2/a01.png",
        "f2/a1.png",
        "f2/a1b.png",
        "f10/a.png",
        "f100/b.png",
        "g.png",
        "g1.png",
    ]
    wanted += ["²3.png", "٣.png"]
    for seed in range(20):
        assert sorted(random.Random(seed).sample(wanted, len(wanted)), key=natural_key) == wanted
    assert sorted(map(Path, ["f10.png", "f9.png"]), key=natural_key) == [Path("f9.png"), Path("f10.png")]
