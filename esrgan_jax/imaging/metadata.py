"""The metadata of picture files: colour profile, EXIF, XMP, resolution, chunks of PNG."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

from esrgan_jax.imaging import png_texts

_ORIENTATION = 0x0112
_PIXEL_SIZE = (0xA003, 0xA002)  # of the EXIF block: height, width

# Tags that describe the picture. The others of a TIFF describe the layout of the old file.
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

# Chunks that still hold for an enlarged picture: colours and texts, not those about its samples.
_PNG_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tEXt", b"zTXt", b"iTXt")


@dataclass(frozen=True)
class Metadata:
    """The metadata of a picture, in one form for all formats.

    Attributes:
      icc: the colour profile.
      exif: the EXIF block as a TIFF structure; upright, and without a thumbnail.
      xmp: the XMP packet; upright.
      dpi: pixels per inch, (x, y).
      png_chunks: (type, data) of a PNG's colour and text chunks, to be written into another PNG.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()

    def exif_of_size(self, height: int, width: int) -> bytes | None:
        """Return the EXIF block with this size of the picture in it."""
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
    """Return the metadata of a file opened by Pillow, its EXIF orientation (1 to 8), and notes on what was lost.

    The orientation of a TIFF is 1: decoders turn it upright.
    """
    notes: tuple[str, ...] = ()
    orientation, exif = 1, None
    try:
        tags = picture.getexif()
        if picture.format != "TIFF" and tags.get(_ORIENTATION) in range(1, 9):
            orientation = int(tags[_ORIENTATION])
        exif = _descriptive(tags)
    # Cameras and programs write broken EXIF, for which Pillow raises exceptions of every kind.
    except Exception:
        notes = ("its EXIF data is damaged and was left out",)
    xmp = picture.info.get("xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    if xmp:
        xmp = re.sub(rb'(tiff:Orientation(?:="|>))\d', rb"\g<1>1", xmp)
    dpi = picture.info.get("dpi")
    icc: bytes | None = picture.info.get("icc_profile") or None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    if picture.format == "PNG":
        icc, chunks, lost = _png_texts(data)
        notes += lost
    metadata = Metadata(
        icc=icc,
        exif=exif,
        xmp=xmp or None,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
        png_chunks=chunks,
    )
    return metadata, orientation, notes


def _descriptive(tags: Image.Exif) -> bytes | None:
    """Return the tags that describe the picture, upright, without the thumbnail; None if there are none."""
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


def _png_texts(data: bytes) -> tuple[bytes | None, tuple[tuple[bytes, bytes], ...], tuple[str, ...]]:
    """Return colour profile, chunks to be kept, and notes on what was left out of a PNG."""
    icc: bytes | None = None
    kept, notes = [], []
    for kind, content in png_texts.chunks(data):
        if kind == b"iCCP":
            icc = png_texts.read_profile(content)
            if icc is None:
                notes.append("its colour profile is damaged, or larger than 16 MB, and was left out")
        elif kind in _PNG_CHUNKS and not content.startswith(png_texts.EMBEDDED):
            kept.append((kind, content))
        elif kind in _PNG_CHUNKS and png_texts.embedded_text(kind, content) is None:
            notes.append("XMP or EXIF data in it is damaged, or larger than 1 MB, and was left out")
    return icc, tuple(kept), tuple(notes)
