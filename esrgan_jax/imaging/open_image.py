"""Opening pictures with Pillow; files that it cannot read are named for what they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from PIL import Image, TiffImagePlugin, UnidentifiedImageError, features

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import png_texts
from esrgan_jax.imaging.kinds import AVIF, GIF, HEAD, HEIC, IMAGE_SUFFIXES, TIFF, is_read, kind_of
from esrgan_jax.system.regular_files import open_file

READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Formats of the pictures of a set, by Pillow's names."""

_BITS, _SAMPLE_FORMAT = 258, 339  # tags of TIFF


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
    except MemoryError as error:
        raise DataError(
            f"{path} is too large for this machine's memory: save it smaller, or remove it."
        ) from error
    # Decoders raise exceptions of every kind for damaged bytes: SyntaxError, struct.error, ValueError, ...
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path} cannot be opened ({error.strerror}): check the path.") from error
        raise DataError(f"{path} is incomplete or damaged ({error}): replace or remove it.") from error


def _what_it_is(path: Path, for_sets: bool) -> str:
    """Say what a file is in which Pillow finds no picture that is read, and what to do."""
    with open_file(path) as file:
        kind = kind_of(file.read(HEAD))
        if kind == TIFF and (words := _tiff_values(file)):
            return words
    if kind is None:
        return "is no picture of a known format, or its beginning is damaged: replace or remove it."
    upscaled = kind == GIF or (kind == AVIF and _reads_avif()) or (kind == HEIC and _reads_heif())
    if is_read(kind) or (upscaled and not for_sets):
        return f"begins as {kind.name}, but is incomplete or damaged: replace or remove it."
    return f"is {kind.name}: {kind.way_out}."


def _tiff_values(file: IO[bytes]) -> str | None:
    """Say what the values of a TIFF are; None: 8 or 16 bits, or it cannot be found out."""
    try:
        file.seek(0)
        header = file.read(16)
        tags: Any = TiffImagePlugin.ImageFileDirectory_v2(header if b"+" in header[2:4] else header[:8])
        file.seek(tags.next)
        tags.load(file)
        bits, kind = max(tags[_BITS]), tags.get(_SAMPLE_FORMAT, (1,))[0]
    # Of every kind, as for damaged pictures.
    except Exception:
        return None
    if bits in (1, 2, 4, 8, 16) and kind in (1, 4):
        return None
    words = {1: "", 2: "signed ", 3: "floating-point "}.get(kind, "unusual ")
    return (
        f"is a TIFF with {words}values of {bits} bits: map them to 8 or 16 bits, and save it as PNG or TIFF."
    )


def _reads_avif() -> bool:
    return "avif" in features.modules and bool(features.check("avif"))  # Pillow 11.3 or newer, built with it


def _reads_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
