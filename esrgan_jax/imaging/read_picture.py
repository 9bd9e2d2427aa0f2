"""Reading picture files of any kind as Picture."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import png_texts
from esrgan_jax.imaging.metadata import read_metadata
from esrgan_jax.imaging.open_image import open_with_pillow, read_errors
from esrgan_jax.imaging.picture import Picture
from esrgan_jax.imaging.rgb_files import refuse_layouts
from esrgan_jax.system.regular_files import read_bytes

if TYPE_CHECKING:
    from jaxtyping import UInt

    Samples = tuple[UInt[np.ndarray, "h w *c"], UInt[np.ndarray, "h w"] | None, tuple[str, ...]]

# TIFF tags
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _SUBFILE, _EXTRA_SAMPLES = 258, 262, 339, 254, 338
_ORIENTATION = 274
_WHITE_IS_ZERO, _PREMULTIPLIED, _REDUCED = 0, 1, 1
_PNG_GREY_ALPHA = 4


def read_picture(path: str | os.PathLike, *, first_frame: bool = False) -> Picture:
    """Read a picture file with all that belongs to it.

    8 or 16 bits per value stay, as do grey and alpha; the EXIF orientation is applied. Palettes become RGB; CMYK
    and Lab become sRGB by the file's colour profile (CMYK without one as in Pillow). The picture's notes say so.
    AVIF and HEIC are read as 8 bits.

    Args:
      path: a PNG, JPEG, WebP, BMP, GIF, TIFF of at most 16 bits per value, AVIF (if Pillow reads it) or HEIC (if
        pillow-heif is installed).
      first_frame: take the first one of several frames or pages, which are refused otherwise.

    Raises:
      DataError: the file is missing, incomplete, damaged, animated, has several pages, or is of another kind.
    """
    path = Path(path)
    with read_errors(path, for_sets=False):
        data = read_bytes(path)
        with open_with_pillow(io.BytesIO(data), for_sets=False) as file:
            frames = _first_frame(file, path, first_frame)
            refuse_layouts(file, path)
            depth = _depth(file, data, path)
            # Without an orientation tag a TIFF may have one in XMP; Pillow applies it and OpenCV does not.
            in_xmp = depth == 16 and file.format == "TIFF" and _ORIENTATION not in file.tag_v2
            turn = file.getexif().get(_ORIENTATION, 1) if in_xmp else 1
            file.load()  # Pillow finds damage that OpenCV does not: see rgb_files.read_rgb
            metadata, orientation, lost = read_metadata(file, data)
            orientation = turn if in_xmp else orientation
            if depth == 16 and file.mode != "CMYK":
                pixels, alpha, notes = _decode_16_bits(file, data)
            else:
                pixels, alpha, notes = decode_8_bits(file, depth)
            if file.mode in ("CMYK", "LAB"):
                metadata = dataclasses.replace(metadata, icc=None)
            elif file.format == "MPO" and frames:
                metadata = dataclasses.replace(metadata, xmp=None)
    space = {2: b"GRAY", 3: b"RGB "}[pixels.ndim]
    if metadata.icc is not None and metadata.icc[16:20] != space:
        metadata = dataclasses.replace(metadata, icc=None)
        notes += ("its colour profile is for pictures of another kind and was left out",)
    if alpha is not None:
        alpha = _apply_orientation(alpha, orientation)
    return Picture(_apply_orientation(pixels, orientation), alpha, metadata, lost + notes + frames)


def _first_frame(file: Any, path: Path, accepted: bool) -> tuple[str, ...]:
    """Return notes about further frames or pages; smaller versions of the first page do not count.

    Raises:
      DataError: there are some, and taking the first one is not `accepted`.
    """
    count = getattr(file, "n_frames", 1)
    if count == 1:
        return ()
    if file.format in ("MPO", "HEIF"):  # a phone's photo with a depth map beside it
        return ("it holds further pictures (depth, brightness, ...), which were left out",)
    words = f"is animated ({count} frames)"
    if file.format == "TIFF":
        pages = 0
        for page in range(count):
            file.seek(page)
            pages += not file.tag_v2.get(_SUBFILE, 0) & _REDUCED
        file.seek(0)
        if pages <= 1:
            return ()
        words = f"has {pages} pages"
    if accepted:
        return (f"it {words}: the first was taken",)
    raise DataError(
        f"{path} {words}: save each as one file, or take the first one (--first-frame of esrgan-jax upscale)."
    )


def _depth(file: Any, data: bytes, path: Path) -> int:
    """Return the bits per value: 1, 2, 4, 8 or 16."""
    if file.format == "PNG":
        return data[24]
    if file.format != "TIFF":
        return 8
    bits = set(file.tag_v2.get(_BITS, (1,)))
    if len(bits) > 1 or not bits <= {1, 2, 4, 8, 16} or set(file.tag_v2.get(_SAMPLE_FORMAT, (1,))) - {1, 4}:
        words = {2: "signed ", 3: "floating-point "}.get(file.tag_v2.get(_SAMPLE_FORMAT, (1,))[0], "")
        raise DataError(f"{path} has {words}values of {max(bits)} bits: save it with 8 or 16 bits.")
    return bits.pop()


def _decode_16_bits(file: Any, data: bytes) -> Samples:
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    without_texts = png_texts.without_texts(io.BytesIO(data)).read()
    values: Any = cv2.imdecode(np.frombuffer(without_texts, np.uint8), flags)
    if values is None or values.dtype != np.uint16 or sorted(values.shape[:2]) != sorted(file.size):
        raise ValueError("16-bit values in an unknown layout")
    tags = file.tag_v2 if file.format == "TIFF" else {}
    if values.ndim == 2:
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            values = 65535 - values
        return values, key_alpha(values, file.info.get("transparency"), 65535), ()
    if file.format == "PNG" and data[25] == _PNG_GREY_ALPHA:
        return np.ascontiguousarray(values[..., 0]), np.ascontiguousarray(values[..., 3]), ()
    pixels = np.ascontiguousarray(values[..., 2::-1])  # from OpenCV's BGR
    if values.shape[2] == 3 or (file.mode != "RGBA" and "transparency" not in file.info):
        return pixels, None, ()
    alpha = np.ascontiguousarray(values[..., 3])
    if _PREMULTIPLIED in tags.get(_EXTRA_SAMPLES, ()):
        share = np.maximum(alpha, 1).astype(np.float64)[..., None] / 65535
        pixels = np.rint(np.minimum(pixels / share, 65535)).astype(np.uint16)
    return pixels, alpha, ()


def decode_8_bits(file: Any, depth: int) -> Samples:
    """Return pixels, alpha and notes of an image opened by Pillow; `depth` is the file's bits per value."""
    if file.mode in ("CMYK", "LAB"):
        rgb, note = _to_srgb(file)
        return np.array(rgb), None, (note, *(("16 bits were rounded to 8",) if depth == 16 else ()))
    notes: tuple[str, ...] = ()
    key = file.info.get("transparency")
    if file.mode in ("P", "PA"):
        notes = ("its palette became RGB",)
        file = file.convert("RGBA" if file.mode == "PA" or "transparency" in file.info else "RGB")
    elif file.mode == "1":
        file = file.convert("L")
    elif file.mode not in ("L", "LA", "RGB", "RGBA"):
        file = file.convert("RGB")  # YCbCr and the like
    values = np.array(file)
    if file.mode in ("LA", "RGBA"):
        pixels = values[..., 0] if file.mode == "LA" else values[..., :3]
        return np.ascontiguousarray(pixels), np.ascontiguousarray(values[..., -1]), notes
    if isinstance(key, int) and depth < 8:  # in the file's levels; Pillow scales pixels to 255, but not this
        key = 255 * min(key, 1) if depth == 1 else key * 255 // (2**depth - 1)
    return values, None if notes else key_alpha(values, key, 255), notes


def key_alpha(values: UInt[np.ndarray, "h w *c"], key: Any, opaque: int) -> UInt[np.ndarray, "h w"] | None:
    """Return the alpha of a picture in which one colour (Pillow's `info["transparency"]`) is transparent."""
    if not isinstance(key, int | tuple):
        return None
    same = values == np.asarray(key)
    same = same.all(axis=-1) if values.ndim == 3 else same
    return np.where(same, 0, opaque).astype(values.dtype)


def _to_srgb(file: Any) -> tuple[Image.Image, str]:
    name = "Lab" if file.mode == "LAB" else file.mode
    icc = file.info.get("icc_profile")
    try:
        if icc:
            source: Any = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        elif file.mode == "LAB":
            source = ImageCms.createProfile("LAB")
        else:
            return file.convert("RGB"), "CMYK without a colour profile became RGB: its colours are a guess"
        rgb = ImageCms.profileToProfile(
            file,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        if file.mode == "LAB":
            raise ValueError(f"Lab colours that cannot be converted: {error}") from error
        return file.convert("RGB"), "its CMYK profile cannot be used; it became RGB, its colours are a guess"
    assert rgb is not None  # inPlace is off
    return rgb, f"{name} became sRGB"


def _apply_orientation(values: UInt[np.ndarray, "h w *c"], orientation: int) -> UInt[np.ndarray, "h2 w2 *c"]:
    """Turn and mirror a picture by its EXIF orientation (1 to 8)."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)
