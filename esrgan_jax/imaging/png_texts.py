"""The texts and the colour profile of a PNG: chunks of any length, which must not keep its pixels from being read."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO

SIGNATURE = b"\x89PNG\r\n\x1a\n"

EMBEDDED = (b"XML:com.adobe.xmp\0", b"Raw profile type ")
"""Beginnings of the texts that are XMP and EXIF."""

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_LONGEST = 1_000_000  # bytes of XMP or EXIF; Pillow refuses a picture with 1 MiB of them
_LONGEST_PROFILE = 16_000_000  # bytes; JPEG has room for 16.7 million
_ALL_EMBEDDED = 16 * _LONGEST


def without_texts(file: IO[bytes], *, header_only: bool = False) -> IO[bytes]:
    """Return a PNG without its profile and its texts, but for short XMP and EXIF; other files as they are.

    Decoders unpack these chunks, and refuse the picture if one becomes too long.

    Args:
      file: at its beginning.
      header_only: also leave out everything behind the beginning of the pixels.
    """
    is_png = file.read(len(SIGNATURE)) == SIGNATURE
    budget, kept, position, pixels = _ALL_EMBEDDED, [(0, len(SIGNATURE))], len(SIGNATURE), None
    for kind, start, end in _places(file) if is_png else ():
        if kind == b"IDAT" and header_only:
            pixels = start + 8
            break
        if kind in (*_TEXTS, b"iCCP"):
            begins = kind != b"iCCP" and _part(file, start + 8, start + 40).startswith(EMBEDDED)
            text = embedded_text(kind, _part(file, start + 8, end - 4)) if begins else None
            budget -= len(text or b"")
            if text is None or budget < 0:
                kept.append((position, start))
                position = end
    if len(kept) == 1 and pixels is None:
        file.seek(0)
        return file
    kept.append((position, _size(file) if pixels is None else pixels))
    return io.BytesIO(b"".join(_part(file, start, end) for start, end in kept))


def embedded_text(kind: bytes, content: bytes) -> bytes | None:
    """Return the XMP or EXIF in a text chunk; None for other texts, damaged ones, and above a million bytes."""
    if not content.startswith(EMBEDDED):
        return None
    _, _, rest = content.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] != b"\0"
        rest = rest[1:2] + rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if kind != b"tEXt":
        method, rest = rest[:1], rest[1:]
        if method != b"\0":
            return None
    return _unpack(rest, _LONGEST) if packed else rest if len(rest) <= _LONGEST else None


def read_profile(content: bytes) -> bytes | None:
    """Return the colour profile in an iCCP chunk; None if it is damaged or has more than 16 million bytes."""
    _, _, rest = content.partition(b"\0")
    return _unpack(rest[1:], _LONGEST_PROFILE) if rest[:1] == b"\0" else None


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, content) of the chunks of a PNG but its pixels, as far as they are whole."""
    for kind, start, end in _places(io.BytesIO(data)):
        if kind not in (b"IDAT", b"fdAT"):
            yield kind, data[start + 8 : end - 4]


def _places(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the chunks; the last one may end behind the file's end."""
    start, size = len(SIGNATURE), _size(file)
    while start + 8 <= size:
        length, kind = struct.unpack(">I4s", _part(file, start, start + 8))
        end = start + 12 + length
        if end > size and kind != b"IDAT":
            return
        yield kind, start, end
        start = end


def _part(file: IO[bytes], start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _size(file: IO[bytes]) -> int:
    return file.seek(0, io.SEEK_END)


def _unpack(packed: bytes, longest: int) -> bytes | None:
    """Return what zlib packed, without ever having more than `longest` bytes of it; None if there are more."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, longest)
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail else data
