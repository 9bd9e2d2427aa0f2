"""The pictures that a set is prepared from: files in folders, or members of zip files."""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esrgan_jax.data.lr_names import LrNames
from esrgan_jax.data.pairs import check_sizes
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.rgb_files import read_rgb


@dataclass(frozen=True)
class PlainFile:
    """A file in a folder; `root` is left out of its identity, so that the folder may be moved."""

    root: Path
    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def identity(self) -> list:
        """Path below `root`, size and time: what changes when the file does."""
        name = self.path.relative_to(self.root).as_posix()
        try:
            status = self.path.stat()
        except OSError:  # A link to nowhere; reading it will say so.
            return [name, None, None]
        return [name, status.st_size, status.st_mtime_ns]

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[Path]:
        """The file itself."""
        yield self.path


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip file; several threads may unpack at once."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """The path of the zip file and that in it."""
        return f"{self.archive.filename}/{self.member.filename}"

    def identity(self) -> list:
        """Path in the zip file, size and checksum: what changes when the file does."""
        return [self.member.filename, self.member.file_size, self.member.CRC]

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[Path]:
        """The file on disk, for as long as the context lasts.

        Raises:
          DataError: it is damaged, or read as an image from this path and found to be; names the zip file.
        """
        # One at a time and thrown away after use: a whole set unpacked would need its size on disk again.
        with tempfile.TemporaryDirectory(prefix="esrgan_jax-") as folder:
            try:
                yield Path(self.archive.extract(self.member, folder))
            except DataError as error:
                raise DataError(str(error).replace(folder, str(self.archive.filename))) from error
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                raise DataError(f"{self.name} is damaged ({error}): fetch the zip file again.") from error


ImageFile = PlainFile | ZipMember


@dataclass(frozen=True)
class Decoded:
    """A picture file and what is in it.

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
      lr: the LR file; None to shrink HR by MATLAB's bicubic; a sentence if there should be one and is not.
    """

    hr: ImageFile
    lr: ImageFile | str | None

    def identity(self) -> list:
        """What changes when one of the files does."""
        return [
            self.hr.identity(),
            self.lr.identity() if self.lr and not isinstance(self.lr, str) else self.lr,
        ]

    def read(self, scale: int) -> tuple[Decoded, Decoded | None]:
        """Both files; None for an LR picture that is to be made.

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
    """The pictures of a folder and of those below it, in a fixed order.

    Args:
      hr: folder of HR images.
      lr: folder of LR images; None to make them.
      scale: how many times HR is larger.
      lr_template: how LR images are named; see `Partners`.

    Raises:
      DataError: a folder is missing, the HR folder holds no image, or both are the same.
      ConfigError: a template without "{name}".
    """
    partners = LrNames(hr, lr, scale, lr_template)
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
