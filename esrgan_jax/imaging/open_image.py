"""Opening pictures with Pillow; files that it cannot read are named for what they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from PIL import Image, UnidentifiedImageError, features

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import png_texts
from esrgan_jax.imaging.kinds import AVIF, GIF, HEAD, HEIC, IMAGE_SUFFIXES, is_read, kind_of
from esrgan_jax.system.regular_files import open_file

READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Formats of the pictures of a set, by Pillow's names."""


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


def _reads_avif() -> bool:
    return "avif" in features.modules and bool(features.check("avif"))  # Pillow 11.3 or newer, built with it


def _reads_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
