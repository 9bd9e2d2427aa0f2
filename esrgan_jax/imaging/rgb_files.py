"""Picture files as 8-bit RGB: read, write as PNG."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import png_texts
from esrgan_jax.imaging.open_image import open_with_pillow, read_errors
from esrgan_jax.system.files import atomic_write
from esrgan_jax.system.regular_files import open_file, read_bytes

if TYPE_CHECKING:
    from jaxtyping import UInt8

_BITS, _PLANAR, _SEPARATE, _DNG_VERSION = 258, 284, 2, 50706  # tags of TIFF


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
        data = read_bytes(path)
        with open_with_pillow(io.BytesIO(data)) as picture:
            if picture.mode in ("F", "I"):
                raise DataError(f"{path} has 32 bits per value: save it with 8 or 16.")
            refuse_layouts(picture, path)
            # Pillow keeps the upper 8 of 16 bits, without rounding.
            is_16_bit = picture.format in ("PNG", "TIFF") and ";16" in str(picture.tile)
            # Without it, converting a palette warns that alpha is lost.
            picture.info.pop("transparency", None)
            image = np.array(picture.convert("RGB"))
        return _decode_16_bit(data) if is_16_bit else image


def image_size(path: str | os.PathLike, *, for_sets: bool = True) -> tuple[int, int]:
    """Read (height, width) in pixels, as `read_rgb` would return them, from the header alone.

    `for_sets`: see `open_with_pillow`.

    Raises:
      DataError: the file is missing or its header is not that of a picture; damage after it is not found.
    """
    path = Path(path)
    with (
        read_errors(path, for_sets=for_sets),
        open_file(path) as file,
        open_with_pillow(file, for_sets=for_sets, header_only=True) as picture,
    ):
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


def _decode_16_bit(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = png_texts.without_texts(io.BytesIO(data)).read()
    bgr = cv2.imdecode(np.frombuffer(pixels, np.uint8), flags)
    if bgr is None or bgr.dtype != np.uint16:
        raise ValueError("16-bit values in an unknown layout")
    # 65535 = 255 * 257, so this is the nearest level, and never a tie.
    levels = (bgr.astype(np.uint32) + 128) // 257
    return cv2.cvtColor(levels.astype(np.uint8), cv2.COLOR_BGR2RGB)


def refuse_layouts(picture: Any, path: Path) -> None:
    """Raise for a camera's raw picture, and for 16 bits in separate planes, which no decoder here reads."""
    if picture.format != "TIFF":
        return
    if _DNG_VERSION in picture.tag_v2:
        raise DataError(f"{path} is a camera's raw file (DNG): develop it, and save it as TIFF or PNG.")
    if picture.tag_v2.get(_PLANAR) == _SEPARATE and max(picture.tag_v2.get(_BITS, (1,))) > 8:
        raise DataError(f"{path} has 16 bits in separate planes: save it with interleaved channels.")
