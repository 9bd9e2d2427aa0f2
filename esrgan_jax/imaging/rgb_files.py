"""Picture files as 8-bit RGB: find, read, write as PNG."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from esrgan_jax.errors import DataError
from esrgan_jax.system.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import UInt8

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Formats that are read, by Pillow's names."""

_BITS, _PLANAR, _SEPARATE = 258, 284, 2  # tags of TIFF


def read_rgb(path: str | os.PathLike) -> UInt8[np.ndarray, "h w 3"]:
    """Read a picture file as 8-bit RGB.

    Grey becomes three equal channels, palettes and CMYK become RGB, alpha is dropped, 16 bits are rounded to 8, and
    of several pages or frames the first is read. The EXIF orientation is ignored, because pairs of training pictures
    match as they are stored; the orientation tag of TIFF is applied.

    Returns:
      uint8 [H, W, 3] in [0, 255].

    Raises:
      DataError: the file is missing, incomplete, damaged, or no PNG, JPEG, WebP, BMP or TIFF of at most 16
        bits per value. Damage that leaves a JPEG decodable is not found: the format has no checksum.
    """
    path = Path(path)
    # Pillow, not OpenCV, decides whether a file is intact: OpenCV has returned half-grey pictures for truncated
    # files, and reports errors on stderr only. Both decode equally fast and to equal values.
    with read_errors(path):
        data = path.read_bytes()
        with open_with_pillow(io.BytesIO(data)) as picture:
            if picture.mode in ("F", "I"):
                raise DataError(f"{path} has 32 bits per value: save it with 8 or 16.")
            refuse_separate_planes(picture, path)
            # Pillow keeps the upper 8 of 16 bits, without rounding.
            is_16_bit = picture.format in ("PNG", "TIFF") and ";16" in str(picture.tile)
            # Without it, converting a palette warns that alpha is lost.
            picture.info.pop("transparency", None)
            image = np.array(picture.convert("RGB"))
        return _decode_16_bit(data) if is_16_bit else image


def open_with_pillow(file: str | os.PathLike | io.BytesIO) -> Any:
    """Open a picture of one of READABLE, up to 2**30 pixels (OpenCV's limit), without decoding it."""
    # Pillow refuses above 179 megapixels; a 12-megapixel photo upscaled by 4 has 192.
    Image.MAX_IMAGE_PIXELS = 2**30
    return Image.open(file, formats=READABLE)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Read (height, width) in pixels, as `read_rgb` would return them, from the header alone.

    Raises:
      DataError: the file is missing or its header is not that of a picture; damage after it is not found.
    """
    path = Path(path)
    with read_errors(path), open_with_pillow(path) as picture:
        return picture.height, picture.width


def write_png(path: str | os.PathLike, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write uint8 RGB [H, W, 3] as an 8-bit PNG, atomically.

    Raises:
      ValueError: `image` is not uint8 [H, W, 3].
      OSError: the file cannot be written.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"`image` is {image.dtype} of shape {image.shape}; it must be uint8 [H, W, 3].")
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def find_images(folder: str | os.PathLike) -> list[Path]:
    """Return the picture files in a folder and its subfolders, sorted; suffixes may be in any case.

    Links to folders are followed; names that begin with a dot are skipped, folders included.

    Raises:
      DataError: `folder` is not a folder.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder} is not a folder: check the path.")
    found: list[Path] = []
    for parent, folders, files in os.walk(os.fspath(folder), followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)


def _decode_16_bit(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if bgr is None or bgr.dtype != np.uint16:
        raise ValueError("16-bit values in an unknown layout")
    # 65535 = 255 * 257, so this is the nearest level, and never a tie.
    levels = (bgr.astype(np.uint32) + 128) // 257
    return cv2.cvtColor(levels.astype(np.uint8), cv2.COLOR_BGR2RGB)


def refuse_separate_planes(picture: Any, path: Path) -> None:
    """Raise for a TIFF with 16 bits in separate planes, which neither Pillow nor OpenCV decodes."""
    if picture.format != "TIFF":
        return
    if picture.tag_v2.get(_PLANAR) == _SEPARATE and max(picture.tag_v2.get(_BITS, (1,))) > 8:
        raise DataError(f"{path} has 16 bits in separate planes: save it with interleaved channels.")


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn any failure to read `path` into a DataError."""
    try:
        yield
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path} {_what_it_is(path)}") from error
    # Decoders raise exceptions of every kind for damaged bytes: SyntaxError, struct.error, ValueError, ...
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path} cannot be opened ({error.strerror}): check the path.") from error
        raise DataError(f"{path} is incomplete or damaged ({error}): replace or remove it.") from error


def _what_it_is(path: Path) -> str:
    """Say what is wrong with a file in which Pillow finds no picture, and what to do."""
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"GIF8":
        return "is a GIF, which cannot be read: save it, or each of its frames, as PNG."
    if head in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return (
            "is a TIFF of an unusual layout or damaged: save it as grey or RGB with 8 or 16 bits per value."
        )
    return "is not a PNG, JPEG, WebP, BMP or TIFF picture, or its beginning is damaged: replace or remove it."
