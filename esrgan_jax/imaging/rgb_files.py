"""Picture files: find them, read them as RGB, write PNG."""

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
"""What is read, by Pillow's names."""

_BITS, _PLANAR, _SEPARATE = 258, 284, 2  # tags of TIFF


def read_rgb(path: str | os.PathLike) -> UInt8[np.ndarray, "h w 3"]:
    """Reads a picture file as 8-bit RGB.

    Grey becomes three equal channels, palettes and CMYK become RGB, alpha is dropped, 16-bit values are
    rounded to the nearest of 256 levels, and of several pages or frames the first is read. EXIF orientation
    is ignored: pairs of training pictures lie as they are stored. (The orientation tag of TIFF is obeyed.)

    Returns:
      uint8 [H, W, 3] in [0, 255].

    Raises:
      DataError: the file is missing, incomplete, damaged, or no PNG, JPEG, WebP, BMP or TIFF of at most 16
        bits a value. Damage that leaves a JPEG decodable cannot be seen: the format has no checksum.
    """
    path = Path(path)
    # Pillow, not OpenCV, decides whether a file is sound: OpenCV has returned half-grey pictures for
    # truncated files, and reports errors to stderr only. The two decode equally fast and to equal values.
    with read_errors(path):
        data = path.read_bytes()
        with open_with_pillow(io.BytesIO(data)) as picture:
            if picture.mode in ("F", "I"):
                raise DataError(f"{path} has 32 bits a value: save it with 8 or 16.")
            refuse_separate_planes(picture, path)
            # Pillow keeps the upper 8 bits of 16, without rounding.
            is_16_bit = picture.format in ("PNG", "TIFF") and ";16" in str(picture.tile)
            # Converting a palette with transparency warns that alpha is lost: it is meant to be.
            picture.info.pop("transparency", None)
            image = np.array(picture.convert("RGB"))
        return _decode_16_bit(data) if is_16_bit else image


def open_with_pillow(file: str | os.PathLike | io.BytesIO) -> Any:
    """Opens a picture of one of FORMATS, of up to 2**30 pixels (OpenCV's limit); decodes nothing yet."""
    # Pillow refuses above 179 megapixels; a 12-megapixel photo upscaled by 4 has 192.
    Image.MAX_IMAGE_PIXELS = 2**30
    return Image.open(file, formats=READABLE)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Reads (height, width) in pixels from the header alone, as `read_rgb` would return them.

    Raises:
      DataError: the file is missing or its header is not that of a picture; damage further on goes unseen.
    """
    path = Path(path)
    with read_errors(path), open_with_pillow(path) as picture:
        return picture.height, picture.width


def write_png(path: str | os.PathLike, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes uint8 RGB [H, W, 3] as an 8-bit PNG: the whole file appears at `path`, or nothing does.

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
    """Lists the picture files in a folder and its subfolders, sorted, by suffix in any case.

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
    """Refuses a TIFF that holds red, green and blue one after the other with 16 bits: nobody here decodes it."""
    if picture.format != "TIFF":
        return
    if picture.tag_v2.get(_PLANAR) == _SEPARATE and max(picture.tag_v2.get(_BITS, (1,))) > 8:
        raise DataError(f"{path} has 16 bits in separate planes: save it with interleaved channels.")


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turns every failure to read `path` into a DataError of one sentence."""
    try:
        yield
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path} {_what_it_is(path)}") from error
    # Decoders meet damaged bytes with exceptions of every kind: SyntaxError, struct.error, ValueError, ...
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path} cannot be opened ({error.strerror}): check the path.") from error
        raise DataError(f"{path} is incomplete or damaged ({error}): replace or remove it.") from error


def _what_it_is(path: Path) -> str:
    """What is wrong with a file in which Pillow sees no picture, and the way out."""
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"GIF8":
        return "is a GIF, which is not read: save it, or each of its frames, as PNG."
    if head in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "is a TIFF of an unusual layout or damaged: save it as grey or RGB with 8 or 16 bits a value."
    return "is not a PNG, JPEG, WebP, BMP or TIFF picture, or its beginning is damaged: replace or remove it."
