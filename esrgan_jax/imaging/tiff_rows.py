"""Writing TIFF files row by row: any height in a few megabytes of memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

if TYPE_CHECKING:
    from jaxtyping import UInt

    from esrgan_jax.imaging.metadata import Metadata

_LEVEL = 4  # of zlib; the default 6 takes twice as long for photos that are a few percent smaller
_STRIP = 1 << 20  # bytes of rows that are compressed at a time
_CLASSIC = 2**32 - 2**26  # bytes of pixels that certainly fit the 32-bit offsets of the classic format
_XMP = 700


def write_rows(
    path: Path,
    rows: Iterable[UInt[np.ndarray, "n w samples"]],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    metadata: Metadata,
) -> None:
    """Write a TIFF (deflate, horizontal predictor) whose rows arrive from top to bottom in pieces of any height.

    Pictures of more than 4 GB become BigTIFF.

    Args:
      path: the file.
      rows: [n, W, samples]: grey, RGB or RGBA.
      shape: (H, W, samples) of the whole picture.
      dtype: uint8 or uint16.
      metadata: colour profile, EXIF, XMP and resolution.

    Raises:
      OSError: the file cannot be written.
      ValueError: the number of rows is not that of `shape`.

    Source: TIFF 6.0, and its supplement 2 for the compression.
    """
    height, width, samples = shape
    big = height * width * samples * dtype.itemsize > _CLASSIC
    strip = max(1, _STRIP // (width * samples * dtype.itemsize))
    exif: Any = Image.Exif()
    if block := metadata.exif_of_size(height, width):
        exif.load(block)
    strips = _strips(rows, strip, height, dtype.newbyteorder("<"))
    with tifffile.TiffWriter(path, bigtiff=big, byteorder="<") as file:
        file.write(
            strips,
            shape=shape if samples > 1 else shape[:2],
            dtype=dtype,
            photometric="rgb" if samples >= 3 else "minisblack",
            planarconfig="contig" if samples > 1 else None,
            extrasamples=["unassalpha"] if samples == 4 else None,
            rowsperstrip=strip,
            compression="adobe_deflate",
            predictor=True,
            iccprofile=metadata.icc,
            resolution=metadata.dpi,
            resolutionunit="inch" if metadata.dpi else None,
            extratags=list(_extra_tags(exif, metadata)),
            metadata=None,
            software=False,
        )
        next(strips, None)  # tifffile stops after the last strip; this counts rows that are left
    _append_blocks(path, exif, big)


def _strips(
    rows: Iterable[UInt[np.ndarray, "n w samples"]], height_of_strip: int, height: int, dtype: np.dtype
) -> Iterator[bytes]:
    """Yield compressed strips of equal height from rows in pieces of any height; the last may be lower."""
    waiting: list[np.ndarray] = []
    count = given = 0
    for piece in rows:
        waiting.append(piece)
        count += len(piece)
        if count > height:
            break
        while count - given >= height_of_strip:
            whole = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            yield _compress(whole[:height_of_strip], dtype)
            given += height_of_strip
            waiting = [whole[height_of_strip:]]
    if height >= count > given:
        yield _compress(np.concatenate(waiting), dtype)
    if count != height:
        raise ValueError(f"`rows` are {count} rows or more; `shape` says {height}.")


def _compress(strip: UInt[np.ndarray, "n w samples"], dtype: np.dtype) -> bytes:
    difference = strip.astype(dtype)
    difference[:, 1:] -= strip[:, :-1]  # modulo 2**8 or 2**16
    return zlib.compress(difference.tobytes(), _LEVEL)


def _extra_tags(exif: Any, metadata: Metadata) -> Iterator[tuple[int, int, int, Any, bool]]:
    if metadata.xmp is not None:
        yield _XMP, TiffTags.BYTE, len(metadata.xmp), metadata.xmp, True
    for tag in exif:
        value = exif[tag]
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            # The block's offset is not known yet, and tifffile refuses this tag: its neighbour reserves the entry.
            yield tag - 1, TiffTags.LONG, 1, 0, True
        elif isinstance(value, str):
            yield tag, TiffTags.ASCII, 0, value.encode("utf-8", "replace").decode("latin-1"), True
        elif isinstance(value, bytes):
            yield tag, TiffTags.BYTE, len(value), value, True
        elif isinstance(value, int):
            yield tag, TiffTags.SHORT if value < 2**16 else TiffTags.LONG, 1, value, True


def _append_blocks(path: Path, exif: Any, big: bool) -> None:
    """Append the EXIF and GPS blocks to the file, and write their offsets into its tags."""
    header = b"II\x2b\0\x08\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages.first.tags
        for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if tag not in exif:
                continue
            block = TiffImagePlugin.ImageFileDirectory_v2(header, group=tag)
            values = dict(exif.get_ifd(tag))
            if ExifTags.IFD.Interop in values:
                values[ExifTags.IFD.Interop] = exif.get_ifd(ExifTags.IFD.Interop)
            for key, value in values.items():
                block[key] = value
            file.filehandle.seek(0, 2)
            offset = file.filehandle.tell()
            if offset % 2:  # blocks begin at words
                offset += file.filehandle.write(b"\0")
            file.filehandle.write(block.tobytes(offset))
            entry = tags[tag - 1]
            entry.overwrite(offset)
            file.filehandle.seek(entry.offset)
            file.filehandle.write(struct.pack("<H", tag))
