"""What a picture file holds beside its pixels: colour profile, EXIF, XMP, resolution, a PNG's own chunks."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

_ORIENTATION = 0x0112
_PIXEL_SIZE = (0xA003, 0xA002)  # of the EXIF block: height, width

# What describes the picture. The rest of a TIFF's tags is the layout of the old file.
_DESCRIPTIVE = {
    *(
        0x010D,
        0x010E,
        0x010F,
        0x0110,
        0x011D,
        0x0131,
        0x0132,
        0x013B,
        0x013C,
    ),  # names, camera, software, date, artist
    *(0x4746, 0x4749, 0x8298, 0xC4A5),  # ratings, copyright, print settings
    *range(0x9C9B, 0x9CA0),  # Windows' title, comment, author, keywords, subject
    ExifTags.IFD.Exif,
    ExifTags.IFD.GPSInfo,
}

# Chunks that stay true of an enlarged picture: its colours, its text. Not kept: what speaks of samples.
_PNG_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tEXt", b"zTXt", b"iTXt")
_PNG_OTHERWISE = (b"XML:com.adobe.xmp\0", b"Raw profile type ")  # texts that are XMP and EXIF


@dataclass(frozen=True)
class Metadata:
    """What belongs to a picture beside its pixels, the same for every format.

    Attributes:
      icc: the colour profile.
      exif: the EXIF block as a TIFF structure; upright, and without a thumbnail.
      xmp: the XMP packet; upright.
      dpi: pixels per inch, (x, y).
      png_chunks: (type, data) of a PNG's colour and text chunks, for a PNG to be written.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()

    def exif_of_size(self, height: int, width: int) -> bytes | None:
        """The EXIF block with another size of the picture in it."""
        if self.exif is None:
            return None
        exif = Image.Exif()
        exif.load(self.exif)
        block = exif.get_ifd(ExifTags.IFD.Exif)
        for tag, size in zip(_PIXEL_SIZE, (height, width), strict=True):
            if tag in block:
                block[tag] = size
        return _to_bytes(exif)


def read_metadata(picture: Image.Image, data: bytes) -> tuple[Metadata, int, tuple[str, ...]]:
    """The metadata of a file that Pillow has opened, its EXIF orientation (1 to 8), and notes on what was lost.

    TIFF pictures come out of their decoders upright: their orientation is 1.
    """
    notes: tuple[str, ...] = ()
    orientation, exif = 1, None
    try:
        tags = picture.getexif()
        if picture.format != "TIFF" and tags.get(_ORIENTATION) in range(1, 9):
            orientation = int(tags[_ORIENTATION])
        exif = _descriptive(tags)
    # What cameras and programs write is broken in ways that Pillow meets with exceptions of every kind.
    except Exception:
        notes = ("its EXIF data is damaged and was left out",)
    xmp = picture.info.get("xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    if xmp:
        xmp = re.sub(rb'(tiff:Orientation(?:="|>))\d', rb"\g<1>1", xmp)
    dpi = picture.info.get("dpi")
    chunks = tuple(_png_chunks(data)) if picture.format == "PNG" else ()
    metadata = Metadata(
        icc=picture.info.get("icc_profile") or None,
        exif=exif,
        xmp=xmp or None,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
        png_chunks=chunks,
    )
    return metadata, orientation, notes


def _descriptive(tags: Image.Exif) -> bytes | None:
    """The tags that describe the picture, upright, without the thumbnail; None if there are none."""
    kept: Any = Image.Exif()
    for tag in tags:
        if tag in _DESCRIPTIVE:
            kept[tag] = tags[tag]
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if block := dict(tags.get_ifd(tag)):
            if ExifTags.IFD.Interop in block:
                block[ExifTags.IFD.Interop] = dict(tags.get_ifd(ExifTags.IFD.Interop))
            kept[tag] = block
        elif tag in kept:
            del kept[tag]
    if not len(kept):
        return None
    kept[_ORIENTATION] = 1
    return _to_bytes(kept)


def _to_bytes(exif: Image.Exif) -> bytes:
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        content = data[position + 8 : position + 8 + length]
        if kind in _PNG_CHUNKS and not content.startswith(_PNG_OTHERWISE):
            yield kind, content
        position += 12 + length
