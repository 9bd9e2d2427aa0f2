"""Opening picture files: nothing but regular files, which are named for what they are if they cannot be read."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from PIL import Image, UnidentifiedImageError, features

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import png_texts
from esrgan_jax.imaging.kinds import AVIF, GIF, HEAD, HEIC, IMAGE_SUFFIXES, is_read, kind_of

READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Formats of the pictures of a set, by Pillow's names."""

_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NoFileError(DataError):
    """A path that leads to no file: it is missing, a dead link, a pipe, a device or a folder."""


def file_status(path: str | os.PathLike) -> os.stat_result:
    """Return the status of a file, or of the file that a link leads to.

    Raises:
      NoFileError: there is none; says what is there.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise NoFileError(f"{path} {_without_file(path, error)}") from error
    if stat.S_ISDIR(status.st_mode):
        try:
            os.scandir(os.fspath(path)).close()
        except OSError as error:
            raise NoFileError(
                f"{path} is a folder that cannot be read ({error.strerror}): check it."
            ) from error
        raise NoFileError(f"{path} cannot be opened (it is a folder): give a picture.")
    if not stat.S_ISREG(status.st_mode):
        name = _SPECIAL.get(stat.S_IFMT(status.st_mode), "no file")
        raise NoFileError(
            f"{path} is {name}, which may never end: save the picture as a file, and give that."
        )
    return status


def open_file(path: str | os.PathLike) -> io.BufferedReader:
    """Open a regular file for reading, without ever waiting for another program.

    Raises:
      NoFileError: see `file_status`.
      OSError: it cannot be opened.
    """
    file_status(path)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    # Without waiting, should it have become a pipe since.
    file = open(os.open(path, flags | getattr(os, "O_NONBLOCK", 0)), "rb")  # noqa: PTH123, SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise NoFileError(f"{path} is no file any more: start again.")


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a whole regular file; see `open_file`."""
    with open_file(path) as file:
        return file.read()


def upscaled_suffixes() -> tuple[str, ...]:
    """Return the suffixes of all pictures that can be upscaled here: those of sets, GIF, and what is installed."""
    optional = ((AVIF, _reads_avif), (HEIC, _reads_heif))
    return (
        *IMAGE_SUFFIXES,
        *GIF.suffixes,
        *(s for kind, reads in optional if reads() for s in kind.suffixes),
    )


def open_with_pillow(file: IO[bytes], *, for_sets: bool = True, header_only: bool = False) -> Any:
    """Open a picture, up to 2**30 pixels (OpenCV's limit), without decoding it.

    Args:
      file: at its beginning.
      for_sets: of `READABLE`; otherwise also GIF, AVIF if Pillow reads it, and HEIC if pillow-heif is installed.
      header_only: enough for size and mode; the pixels are not read.

    Raises:
      UnidentifiedImageError: it is of no such format, or its beginning is damaged.
    """
    # Pillow refuses above 179 megapixels; a 12-megapixel photo upscaled by 4 has 192.
    Image.MAX_IMAGE_PIXELS = 2**30
    formats = list(READABLE)
    if not for_sets:
        kind = kind_of(file.read(HEAD))
        file.seek(0)
        formats += (
            ["GIF"]
            + ["AVIF"] * (kind == AVIF and _reads_avif())
            + ["HEIF"] * (kind == HEIC and _reads_heif())
        )
    return Image.open(png_texts.without_texts(file, header_only=header_only), formats=formats)


@contextlib.contextmanager
def read_errors(path: Path, *, for_sets: bool = True) -> Iterator[None]:
    """Turn any failure to read `path` into a DataError that says what the file is."""
    try:
        yield
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path} {_what_it_is(path, for_sets)}") from error
    # Decoders raise exceptions of every kind for damaged bytes: SyntaxError, struct.error, ValueError, ...
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path} cannot be opened ({error.strerror}): check the path.") from error
        raise DataError(f"{path} is incomplete or damaged ({error}): replace or remove it.") from error


def _what_it_is(path: Path, for_sets: bool) -> str:
    """Say what a file is in which Pillow finds no picture that is read, and what to do."""
    with open_file(path) as file:
        kind = kind_of(file.read(HEAD))
    if kind is None:
        return "is no picture of a known format, or its beginning is damaged: replace or remove it."
    upscaled = kind == GIF or (kind == AVIF and _reads_avif()) or (kind == HEIC and _reads_heif())
    if is_read(kind) or (upscaled and not for_sets):
        return f"begins as {kind.name}, but is incomplete or damaged: replace or remove it."
    return f"is {kind.name}: {kind.way_out}."


def _without_file(path: str | os.PathLike, error: OSError) -> str:
    """Say why a path leads nowhere, and what to do."""
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself: remove it."
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and os.path.islink(path):  # noqa: PTH114
        return f"is a link to {os.readlink(os.fspath(path))}, which does not exist: mend or remove it."  # noqa: PTH115
    return f"cannot be opened ({error.strerror}): check the path."


def _reads_avif() -> bool:
    return "avif" in features.modules and bool(features.check("avif"))  # Pillow 11.3 or newer, built with it


def _reads_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
