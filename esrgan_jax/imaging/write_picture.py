"""Writing Picture to files of any kind."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import png_rows
from esrgan_jax.imaging.picture import Picture
from esrgan_jax.system.files import atomic_write

if TYPE_CHECKING:
    from jaxtyping import UInt

    from esrgan_jax.imaging.metadata import Metadata

WRITABLE = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WebP", "tif": "TIFF", "tiff": "TIFF"} | {
    "jfif": "JPEG",
    "jpe": "JPEG",
}
"""Formats that are written, by the suffix of the file."""

STREAMED = ("PNG", "TIFF")
"""Formats that are written row by row and can hold 16 bits."""

QUALITY = 95

_JPEG_SEGMENT = 65_400  # bytes of EXIF or XMP that fit, with the edited size of the picture
_LARGEST = {"JPEG": 65_500, "WebP": 16_383}  # pixels per side, limits of the formats


def format_of(path: str | os.PathLike) -> str | None:
    """Return PNG, JPEG, WebP or TIFF, by the suffix of the name; None for others."""
    return WRITABLE.get(Path(path).suffix.lower().removeprefix("."))


def check_size(path: str | os.PathLike, height: int, width: int) -> None:
    """Check that the format of a file can hold a picture of this size.

    Raises:
      DataError: it cannot.
    """
    name = format_of(path) or ""
    if max(height, width) > _LARGEST.get(name, 2**31 - 1):
        raise DataError(
            f"{path} cannot have {width}x{height} pixels: {name} allows {_LARGEST[name]} per side; "
            "choose PNG or TIFF."
        )


def fit_to_format(picture: Picture, path: str | os.PathLike) -> Picture:
    """Return the picture as a file of that name can hold it, with notes on what had to be changed."""
    name = format_of(path)
    if name in ("JPEG", "WebP"):
        picture = picture.with_8_bits()
    if name == "JPEG":
        picture = picture.on_white()
    if name == "TIFF" and picture.pixels.ndim == 2 and picture.alpha is not None:
        # Few programs read such a TIFF correctly.
        picture = dataclasses.replace(
            picture,
            pixels=np.repeat(picture.pixels[..., None], 3, axis=2),
            notes=(*picture.notes, "grey with alpha became RGB with alpha"),
        )
    if name == "JPEG":
        for field, words in (("exif", "EXIF data"), ("xmp", "XMP data")):
            if len(getattr(picture.metadata, field) or b"") > _JPEG_SEGMENT:
                picture = _without(picture, field, f"its {words} was left out: too long for JPEG")
    icc = picture.metadata.icc
    if icc is not None and icc[16:20] == b"GRAY" and (name == "WebP" or picture.pixels.ndim == 3):
        picture = _without(picture, "icc", "its grey colour profile was left out: the file holds RGB")
    return picture


def _without(picture: Picture, field: str, note: str) -> Picture:
    missing: dict[str, Any] = {field: None}
    metadata = dataclasses.replace(picture.metadata, **missing)
    return dataclasses.replace(picture, metadata=metadata, notes=(*picture.notes, note))


def write_picture(path: str | os.PathLike, picture: Picture, quality: int = QUALITY) -> tuple[str, ...]:
    """Write a picture in the format of the suffix, atomically.

    PNG and TIFF hold everything. JPEG and WebP hold 8 bits; for JPEG alpha is blended over white.

    Args:
      path: ends in .png, .jpg, .jpeg, .webp, .tif or .tiff.
      picture: what to write.
      quality: of JPEG and WebP, 1 to 100; 100 is lossless in WebP.

    Returns:
      The picture's notes and what else had to be changed, see `fit_to_format`.

    Raises:
      DataError: the format cannot hold a picture of this size.
      OSError: the file cannot be written.
    """
    picture = fit_to_format(picture, path)
    check_size(path, picture.height, picture.width)
    samples = picture.samples()
    if format_of(path) in STREAMED:
        write_rows(path, [samples], samples.shape, samples.dtype, picture.metadata)
    else:
        # Into memory first: errors of Pillow's encoders do not say why a file could not be written.
        encoded = _encode(samples, picture.metadata, format_of(path) or "", quality)
        with atomic_write(path) as temporary:
            temporary.write_bytes(encoded)
    return picture.notes


def write_rows(
    path: str | os.PathLike,
    rows: Iterable[UInt[np.ndarray, "n w samples"]],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    metadata: Metadata,
) -> None:
    """Write a PNG or TIFF whose rows arrive from top to bottom, atomically.

    The arguments are those of `png_rows.write_rows`; grey with alpha must be RGB with alpha for TIFF.

    Raises:
      OSError: the file cannot be written.
      ValueError: the number of rows is not that of `shape`.
    """
    with atomic_write(path) as temporary:
        if format_of(path) == "TIFF":
            from esrgan_jax.imaging import tiff_rows

            tiff_rows.write_rows(temporary, rows, shape, dtype, metadata)
        else:
            with temporary.open("wb") as file:
                png_rows.write_rows(file, rows, shape, dtype, metadata)


def _encode(
    samples: UInt[np.ndarray, "h w samples"], metadata: Metadata, name: str, quality: int
) -> memoryview:
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    exif = metadata.exif_of_size(*samples.shape[:2])
    options: dict[str, Any] = {"quality": quality}
    options |= {"icc_profile": metadata.icc} if metadata.icc else {}
    options |= {"exif": b"Exif\0\0" + exif} if exif else {}
    options |= {"xmp": metadata.xmp} if metadata.xmp else {}
    if name == "JPEG":
        options |= {"subsampling": 0} | ({"dpi": metadata.dpi} if metadata.dpi else {})
    else:
        image = image.convert("RGBA" if samples.shape[2] in (2, 4) else "RGB")
        options |= {"lossless": quality == 100, "exact": True}
    target = io.BytesIO()
    image.save(target, name, **options)
    return target.getbuffer()
