"""Writing PNG files row by row: any height in a few megabytes of memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import UInt

    from esrgan_jax.imaging.metadata import Metadata

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey and alpha, RGB, RGBA
_LEVEL = 4  # of zlib; the default 6 takes twice as long for photos that are 8% smaller
_BLOCK = 1 << 20  # bytes of rows that are filtered at a time
_INCH = 0.0254  # metres


def write_rows(
    file: IO[bytes],
    rows: Iterable[UInt[np.ndarray, "n w samples"]],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    metadata: Metadata,
) -> None:
    """Write a PNG whose rows arrive from top to bottom in pieces of any height.

    Each row is filtered by None, Sub, Up or Paeth, whichever gives the smallest sum of absolute differences.

    Args:
      file: open for writing; is not closed.
      rows: [n, W, samples]: grey, grey and alpha, RGB or RGBA.
      shape: (H, W, samples) of the whole picture.
      dtype: uint8 or uint16.
      metadata: colour profile, EXIF, XMP, resolution and PNG chunks.

    Raises:
      OSError: the file cannot be written.
      ValueError: the number of rows is not that of `shape`.

    Source: PNG specification (W3C, third edition), sections 9, 11 and 12.
    """
    height, width, samples = shape
    step = samples * dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, dtype.itemsize * 8, _COLOUR_TYPES[samples], 0, 0, 0)
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", header)
    _write_metadata(file, metadata, height, width)
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    above = np.zeros((1, width * step), np.uint8)
    count = 0
    per_block = max(1, _BLOCK // (width * step))
    for piece in rows:
        for start in range(0, len(piece), per_block):
            block = piece[start : start + per_block]
            # 16-bit samples are stored with the high byte first.
            lines = (
                np.ascontiguousarray(block, dtype.newbyteorder(">")).view(np.uint8).reshape(len(block), -1)
            )
            packed = compressor.compress(_filter(lines, above, step).data)
            above = lines[-1:]
            count += len(block)
            if packed:
                _chunk(file, b"IDAT", packed)
    if count != height:
        raise ValueError(f"`rows` are {count} rows; `shape` says {height}.")
    _chunk(file, b"IDAT", compressor.flush())
    _chunk(file, b"IEND", b"")


def _filter(
    lines: UInt[np.ndarray, "n bytes"], above: UInt[np.ndarray, "1 bytes"], step: int
) -> UInt[np.ndarray, "n bytes_1"]:
    """Filter rows; `above` is the row before them, `step` the number of bytes per pixel."""
    up = np.concatenate([above, lines[:-1]])
    left = np.zeros_like(lines)
    left[:, step:] = lines[:, :-step]
    corner = np.zeros_like(lines)
    corner[:, step:] = up[:, :-step]
    # The predictor of Paeth: of left, up and corner the one nearest to left + up - corner.
    to_left = np.subtract(up, corner, dtype=np.int16)
    to_up = np.subtract(left, corner, dtype=np.int16)
    to_corner = np.abs(to_left + to_up)
    np.abs(to_left, out=to_left)
    np.abs(to_up, out=to_up)
    paeth = np.where(to_up <= to_corner, up, corner)
    np.copyto(paeth, left, where=(to_left <= to_up) & (to_left <= to_corner))

    best = np.full(len(lines), np.iinfo(np.int64).max)
    result = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    for kind, predicted in ((0, None), (1, left), (2, up), (4, paeth)):
        difference = lines if predicted is None else lines - predicted  # modulo 256
        cost = np.abs(difference.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
        better = cost < best
        best[better] = cost[better]
        result[better, 0] = kind
        result[better, 1:] = difference[better]
    return result


def _write_metadata(file: IO[bytes], metadata: Metadata, height: int, width: int) -> None:
    kept = [kind for kind, _ in metadata.png_chunks]
    for kind, data in metadata.png_chunks:
        if kind != b"sRGB" or metadata.icc is None:  # a file may have one of the two
            _chunk(file, kind, data)
    if metadata.icc is not None and b"cICP" not in kept:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc, 9))
    if metadata.dpi is not None:
        x, y = (round(value / _INCH) for value in metadata.dpi)
        _chunk(file, b"pHYs", struct.pack(">IIB", x, y, 1))
    if exif := metadata.exif_of_size(height, width):
        _chunk(file, b"eXIf", exif)
    if metadata.xmp is not None:
        _chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)


def _chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
