"""Finding the picture files of a folder: each once, whatever links there are, and without opening one."""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from esrgan_jax.errors import DataError
from esrgan_jax.imaging.kinds import IMAGE_SUFFIXES, OTHER_SUFFIXES

SYSTEM_FOLDERS = {
    *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot"),  # of network storage
    *(
        "__macosx",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
    ),  # of macOS, Windows, Linux
}
"""Folders, in lower case, that systems keep for themselves: thumbnails, notes, and what was deleted."""

_Identity = tuple[int, int] | str


class Found(NamedTuple):
    """The pictures of a folder, sorted by path.

    Attributes:
      images: pictures, and what will fail by name when it is opened as one: dead links, pipes and devices with a
        picture's suffix, and folders that cannot be read.
      others: pictures of other formats, by their suffixes.
    """

    images: list[Path]
    others: list[Path]


def find_images(folder: str | os.PathLike) -> list[Path]:
    """Return the pictures of a folder and its subfolders, sorted; see `search_folder`."""
    return search_folder(folder).images


def search_folder(folder: str | os.PathLike, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Found:
    """Find the pictures in a folder and its subfolders, each once; suffixes may be in any case.

    Links are followed, but no folder is entered twice, and none in which `folder` lies. A file that has a place of
    its own, or an earlier link, is not found again by a link; hard links are files of their own. Names that begin
    with a dot are skipped, folders included, and so are `SYSTEM_FOLDERS`.

    Raises:
      DataError: `folder` is not a folder, or cannot be read.
    """
    root = os.fspath(folder)
    if not is_folder(root):
        raise DataError(f"{folder} is not a folder: check the path.")
    images, others = set(suffixes), OTHER_SUFFIXES.keys() - set(suffixes)
    files: dict[bool, list[str]] = {True: [], False: []}  # images, and others
    links: dict[bool, list[str]] = {True: [], False: []}
    for inside, entries in _walk(root):
        if entries is None:
            files[True].append(inside)
            continue
        for entry in entries:
            if (suffix := _suffix(entry.name)) in images | others:
                (links if entry.is_symlink() else files)[suffix in images].append(entry.path)
    found = (sorted(map(Path, [*files[one], *_new_files(links[one], files[one])])) for one in (True, False))
    return Found(*found)


def is_folder(path: str | os.PathLike) -> bool:
    """Return whether this is a folder, or a link to one; False for names that the system cannot have."""
    return os.path.isdir(path)  # noqa: PTH112 (Path's raises for those)


def natural_key(name: str | os.PathLike) -> tuple:
    """Return a key that sorts numbers in names by their values: f2 before f10."""
    path = Path(name)
    parts = (*path.parent.parts, path.stem, path.suffix)
    split = (re.split("([0-9]+)", part) for part in parts)  # words and numbers in turn
    return tuple([int(x) if at % 2 else x for at, x in enumerate(words)] for words in split), parts


def _walk(root: str) -> Iterator[tuple[str, list[os.DirEntry[str]] | None]]:
    """Yield every folder once with its entries that are no folders; None: it cannot be read."""
    entered: set[_Identity] = set()
    for parent in Path(os.path.realpath(root)).parents:
        with contextlib.suppress(OSError):
            entered.add(_identity(parent))
    waiting, linked = deque([root]), deque[str]()
    while waiting or linked:
        # Folders before links to folders: a picture is found under its own path.
        inside = waiting.popleft() if waiting else linked.popleft()
        try:
            identity = _identity(inside)
            if identity in entered:
                continue
            entered.add(identity)
            with os.scandir(inside) as listing:
                entries = sorted((e for e in listing if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            if inside == root:
                raise DataError(
                    f"{root} cannot be read ({error.strerror}): check its permissions."
                ) from error
            yield inside, None
            continue
        for entry in entries:
            if _is_folder(entry) and entry.name.lower() not in SYSTEM_FOLDERS:
                (linked if entry.is_symlink() else waiting).append(entry.path)
        yield inside, [entry for entry in entries if not _is_folder(entry)]


def _new_files(links: Iterable[str], files: Iterable[str]) -> Iterator[str]:
    """Yield the links that lead neither to one of `files` nor where an earlier link leads."""
    known: set[_Identity] = set()
    if links := sorted(links):
        for file in files:
            with contextlib.suppress(OSError):
                known.add(_identity(file))
    for link in links:
        try:
            identity = _identity(link)
        except OSError:  # dead
            identity = link
        if identity not in known:
            known.add(identity)
            yield link


def _identity(path: str | os.PathLike) -> _Identity:
    status = os.stat(path)  # noqa: PTH116
    return (
        (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)
    )  # some systems count none


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or into a folder that cannot be entered
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122
