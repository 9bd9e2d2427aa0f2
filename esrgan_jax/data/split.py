"""A folder split into pictures to train on and pictures held out, by what is in them and not by their names."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from esrgan_jax.data.folder import FolderSource
from esrgan_jax.data.pairs import Pair
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.rgb_files import read_rgb
from esrgan_jax.system.regular_files import file_status

PREFIX = "split:"

ONE_IN = 10
MAX_HELD_OUT = 20
"""More held-out pictures make evaluations longer, and scores hardly steadier."""


class SplitSource:
    """One side of a folder: pictures with the chosen contents are held out, all others are trained on.

    Contents are pixels, not bytes, so that copies fall on one side, under other names and saved again without loss
    (PNG to TIFF) too. Every picture is read once for that; damaged ones belong to no side.

    Args:
      folder, lr, scale, lr_template: see `FolderSource`.
      split: "train" or "validation".
      held_out: contents, see `read_contents`; empty: `choose_held_out` of the folder. Only given ones keep every
        picture on its side when pictures are added.
      skipped: of the "train" side: None: a bad image is an error; a dict: its name and the reason are put there.

    Raises:
      DataError: see `FolderSource`; or nothing is left on this side.
    """

    def __init__(
        self,
        folder: str | Path,
        lr: str | Path | None = None,
        *,
        split: str,
        scale: int,
        lr_template: str | None = None,
        held_out: Sequence[str] = (),
        skipped: dict[str, str] | None = None,
    ):
        bad: dict[str, str] = {}
        self._source = FolderSource(folder, lr, scale=scale, lr_template=lr_template, skipped=bad)
        contents = read_contents(self._source.files, bad)
        if bad and split == "train":
            if skipped is None:
                raise DataError(next(iter(bad.values())))
            skipped.update(bad)
        chosen = set(held_out or choose_held_out(contents.values()))
        self._indices = [
            index
            for index, file in enumerate(self._source.files)
            if file in contents and (contents[file] in chosen) == (split == "validation")
        ]
        if not self._indices:
            side = "to train on" if split == "train" else "held out"
            raise DataError(
                f"No picture of {folder} is {side}: put back those that were when this run began, or add some and "
                "choose another --workdir."
            )
        self.files = [self._source.files[index] for index in self._indices]
        self.others = self._source.others
        lr_files = self._source.lr_files
        self.lr_files = None if lr_files is None else [lr_files[index] for index in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Pair:
        return self._source[self._indices[index]]

    def name(self, index: int) -> str:
        """Return the path of the HR image."""
        return self._source.name(self._indices[index])

    def hr_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the HR file, before it is cropped to a multiple of the scale."""
        return self._source.hr_size(self._indices[index])


def read_contents(files: Iterable[Path], bad: dict[str, str]) -> dict[Path, str]:
    """Return a digest of the pixels of each file, on all cores; unreadable ones and why go into `bad`."""
    from esrgan_jax.system.devices import available_cores  # imports jax

    files = list(files)
    contents = {}
    with ThreadPoolExecutor(available_cores()) as pool:  # Pillow and hashlib release Python's lock
        for file, found in zip(files, pool.map(_read_content, files), strict=True):
            if isinstance(found, DataError):
                bad[str(file)] = str(found)
            else:
                contents[file] = found
    return contents


def choose_held_out(contents: Iterable[str]) -> tuple[str, ...]:
    """Return the contents with the smallest digests: one in ten, at least 1 and at most `MAX_HELD_OUT`."""
    different = sorted(set(contents))
    return tuple(different[: min(MAX_HELD_OUT, max(1, round(len(different) / ONE_IN)))])


def _read_content(file: Path) -> str | DataError:
    try:
        status = file_status(file)
        return _digest(file.resolve(), status.st_size, status.st_mtime_ns)
    except DataError as error:
        return error


@functools.lru_cache(maxsize=100_000)  # both sides of a folder need them
def _digest(file: Path, size: int, changed: int) -> str:
    image = read_rgb(file)
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()[:16]
