"""The pictures that a set is prepared from: files in folders or members of zip files."""

from __future__ import annotations

import contextlib
import errno
import shutil
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from esrgan_jax.data.lr_names import LrNames
from esrgan_jax.data.pairs import check_sizes
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.kinds import describe_left_out
from esrgan_jax.imaging.rgb_files import read_rgb

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What zipfile raises where a zip file is damaged, or its headers contradict each other."""


@dataclass(frozen=True)
class PlainFile:
    """A file in a folder; `root` is not part of its identity, so that the folder may be moved."""

    root: Path
    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def identity(self) -> list:
        """Return path below `root`, size and time, which change when the file does."""
        name = self.path.relative_to(self.root).as_posix()
        try:
            status = self.path.stat()
        except OSError:  # a broken link; the error comes when it is read
            return [name, None, None]
        return [name, status.st_size, status.st_mtime_ns]

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Yield the file itself."""
        yield self.path


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip file; several threads may unpack at once."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """The path of the zip file, then that in it."""
        return f"{self.archive.filename}/{self.member.filename}"

    def identity(self) -> list:
        """Return path in the zip file, size and checksum, which change when the file does."""
        return [self.member.filename, self.member.file_size, self.member.CRC]

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Yield the file on disk, for as long as the context lasts.

        Raises:
          DataError: it is damaged, or reading the path raised a DataError; names the zip file instead.
        """
        # One at a time, deleted after use: a set unpacked as a whole would need its size on disk again.
        with tempfile.TemporaryDirectory(prefix="esrgan_jax-") as folder:
            # Under a name of ours: the member's may lead out of the folder, or be too long.
            path = Path(folder) / f"picture{PurePosixPath(self.member.filename).suffix}"
            try:
                with self.archive.open(self.member) as packed, path.open("wb") as file:
                    shutil.copyfileobj(packed, file)
            except (*_DAMAGE, OSError) as error:
                if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place in front of the file
                    raise
                raise DataError(f"{self.name} is damaged ({error}): fetch the zip file again.") from error
            try:
                yield path
            except DataError as error:
                raise DataError(str(error).replace(str(path), self.name)) from error


ImageFile = PlainFile | ZipMember


@dataclass(frozen=True)
class Decoded:
    """A picture file: its pixels and its bytes.

    Attributes:
      image: uint8 RGB [H, W, 3].
      data: the bytes of the file.
    """

    image: np.ndarray
    data: bytes


@dataclass(frozen=True)
class Original:
    """An HR picture and, unless it is to be made, its LR picture.

    Attributes:
      hr: the HR file.
      lr: the LR file; None: made by MATLAB's bicubic; a sentence: it is missing, and this is the error.
    """

    hr: ImageFile
    lr: ImageFile | str | None

    def identity(self) -> list:
        """Return what changes when one of the files does."""
        return [
            self.hr.identity(),
            self.lr.identity() if self.lr and not isinstance(self.lr, str) else self.lr,
        ]

    def read(self, scale: int) -> tuple[Decoded, Decoded | None]:
        """Read both files; None for an LR picture that is to be made.

        Raises:
          DataError: a file is missing, damaged or too small, or LR is not HR shrunk `scale` times.
        """
        if isinstance(self.lr, str):
            raise DataError(self.lr)
        hr = _decode(self.hr)
        if self.lr is None:
            check_sizes(scale, self.hr.name, hr.image.shape)
            return hr, None
        lr = _decode(self.lr)
        check_sizes(scale, self.hr.name, hr.image.shape, self.lr.name, lr.image.shape)
        return hr, lr


def folder_originals(hr: Path, lr: Path | None, scale: int, lr_template: str | None = None) -> list[Original]:
    """Return the pictures of a folder and its subfolders, in a fixed order; say which others it holds.

    Args:
      hr: folder of HR images.
      lr: folder of LR images; None: they are made.
      scale: how many times HR is larger.
      lr_template: how LR images are named; see `LrNames`.

    Raises:
      DataError: a folder is missing, the HR folder has no images, or both are the same.
      ConfigError: a template without "{name}".
    """
    partners = LrNames(hr, lr, scale, lr_template)
    if partners.others:
        print(f"note      {describe_left_out(partners.others)}", file=sys.stderr)
    found = []
    for file in partners.hr_files:
        partner: ImageFile | str | None = None
        try:
            path = partners.lr_file(file)
            if path is not None and partners.lr_folder is not None:
                partner = PlainFile(partners.lr_folder, path)
        except DataError as error:
            partner = str(error)
        found.append(Original(PlainFile(partners.hr_folder, file), partner))
    return found


def _decode(file: ImageFile) -> Decoded:
    with file.unpacked() as path:
        return Decoded(read_rgb(path), path.read_bytes())
