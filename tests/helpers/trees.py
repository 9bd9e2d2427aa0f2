"""Folders of any shape: pictures, pipes and sockets among links that lead anywhere."""

import contextlib
import os
import random
import shutil
import socket
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from esrgan_jax.imaging import IMAGE_SUFFIXES

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


@contextlib.contextmanager
def tree(seed):
    """The root of a tree, which is gone afterwards."""
    base = Path(tempfile.mkdtemp())
    try:
        yield make_tree(base, seed)
    finally:
        shutil.rmtree(base)
