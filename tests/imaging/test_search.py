"""Finding and opening pictures in folders of any shape: each once, nothing waits, nothing but files is opened."""

import contextlib
import errno
import os
import random
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import IMAGE_SUFFIXES, find_images, image_size, read_rgb
from esrgan_jax.imaging.read_picture import read_picture
from esrgan_jax.imaging.search import natural_key, search_folder

NAMES = [
    "a.png",
    "b.JPG",
    "c",
    ".d.png",
    "e.txt",
    "ö" * 125 + "x.png",
    os.fsdecode(b"caf\xe9.png"),
    "f.gif",
    "g.jfif",
]
FOLDERS = ["x", "y.png", ".z", "w"]
SECONDS = 10


def write_picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5, 3), 9, np.uint8)).save(path, "PNG")
    return path


def make_tree(base, seed):
    """A tree below base/root, and pictures beside it in base/outside; links lead anywhere, also to nothing."""
    choice = random.Random(seed)
    root, outside = base / "root", base / "outside"
    folders = [root, outside]
    for folder in folders:
        folder.mkdir()
    for _ in range(choice.randrange(8)):
        folder = choice.choice(folders) / choice.choice(FOLDERS)
        if not os.path.lexists(folder):
            folder.mkdir()
            folders.append(folder)
    made = [*folders, base, Path("nothing"), Path(), Path("..")]
    for _ in range(choice.randrange(20)):
        path = choice.choice(folders) / choice.choice(NAMES)
        if os.path.lexists(path):
            continue
        kind = choice.choice(["file", "file", "link", "link", "pipe", "socket"])
        with contextlib.suppress(OSError):  # a name that this system cannot have
            if kind == "file":
                write_picture(path)
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "socket":
                with socket.socket(socket.AF_UNIX) as opened:
                    opened.bind(os.fspath(path))
            else:
                target = choice.choice(made)
                path.symlink_to(
                    os.path.relpath(target, path.parent) if target.is_absolute() and seed % 2 else target
                )
            made.append(path)
    return root


def reachable(root):
    """Real paths of the pictures below a folder, by the simplest of searches."""
    above = set(Path(os.path.realpath(root)).parents)
    seen, waiting, found = set(), [Path(os.path.realpath(root))], set()
    while waiting:
        folder = waiting.pop()
        if folder in seen or folder in above:
            continue
        seen.add(folder)
        for path in folder.iterdir():
            real = Path(os.path.realpath(path))
            if path.name.startswith(".") or not real.exists():
                continue
            if real.is_dir():
                waiting.append(real)
            elif real.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
                found.add(real)
    return found


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_each_picture_once_in_any_tree(seed):
    base = Path(tempfile.mkdtemp())
    try:
        root = make_tree(base, seed)
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
    finally:
        shutil.rmtree(base)


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
