"""What a file is, by its first bytes or by its suffix, and what to do with kinds of pictures that are not read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of the pictures of a set. The list never depends on what is installed, or a set would."""

HEAD = 4096
"""Bytes from the beginning of a file that are enough to say what it is."""

_SAVE = "save it as PNG or JPEG"
_RAW = "develop it, and save it as TIFF or PNG"
_DEEP = "map its values to 16 bits, and save it as PNG or TIFF"
_NO_PICTURE = "replace or remove it"
_FETCH = "fetch the picture again"
_UNPACK = "unpack it, and name what is in it"
_HEIF = f'{_SAVE}, or have upscale read it by pip install "esrgan-jax[heif]"'


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
      name: with its article: "a GIF".
      way_out: what to do with it, as a command: "save it as PNG or JPEG".
      suffixes: of pictures of this kind.
      starts: (offset, bytes) that such a file has; one of them is enough.
    """

    name: str
    way_out: str
    suffixes: tuple[str, ...] = ()
    starts: tuple[tuple[int, bytes], ...] = ()


GIF = Kind("a GIF", _SAVE, (".gif",), ((0, b"GIF87a"), (0, b"GIF89a")))
AVIF = Kind(
    "an AVIF picture", f"{_SAVE}, or have upscale read it with Pillow 11.3 or newer", (".avif", ".avifs")
)
HEIC = Kind("a HEIC picture", _HEIF, (".heic", ".heif", ".hif", ".heics", ".heifs"))

_READ = (
    Kind("a PNG", "", starts=((0, b"\x89PNG\r\n\x1a\n"),)),
    Kind("a JPEG", "", starts=((0, b"\xff\xd8\xff"),)),
    Kind("a WebP picture", "", starts=((8, b"WEBP"),)),
    Kind("a BMP", "", starts=((0, b"BM"),)),
)

_CR2 = Kind("a camera's raw file", _RAW, (".cr2",), ((8, b"CR\x02"),))
TIFF = Kind(
    "a TIFF of an unusual layout or damaged",
    "save it as grey or RGB with 8 or 16 bits per value",
    starts=((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
)
_VIDEO = Kind(
    "a video",
    "save its frames as PNG (ffmpeg -i VIDEO frame%06d.png)",
    starts=((8, b"AVI "), (0, b"\x1aE\xdf\xa3"), (0, b"FLV\x01"), (0, b"\0\0\1\xba"), (0, b"OggS")),
)
# fmt: off
_RAW_FILE = Kind(
    "a camera's raw file",
    _RAW,
    (
        ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw",
        ".x3f", ".mrw", ".3fr", ".fff", ".iiq", ".erf", ".kdc", ".dcr", ".rwl", ".raw",
    ),
    (
        (0, b"FUJIFILMCCD-RAW"), (0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR"), (0, b"IIU\0"), (0, b"FOVb"), (0, b"\0MRM"),
        (6, b"HEAPCCDR"),
    ),
)
# fmt: on

_OTHER_PICTURES = (
    GIF,
    AVIF,
    HEIC,
    _CR2,
    _RAW_FILE,
    Kind("an OpenEXR picture", _DEEP, (".exr",), ((0, b"v/1\x01"),)),
    Kind("a Radiance HDR picture", _DEEP, (".hdr", ".rgbe"), ((0, b"#?RADIANCE"), (0, b"#?RGBE"))),
    Kind("a PFM picture of floating-point numbers", _DEEP, (".pfm",), ((0, b"PF\n"), (0, b"Pf\n"))),
    Kind("a Photoshop document", f"{_SAVE} in a program that reads it", (".psd", ".psb"), ((0, b"8BPS"),)),
    Kind("a GIMP document", "export it as PNG", (".xcf",), ((0, b"gimp xcf"),)),
    Kind("a Krita document", "export it as PNG", (".kra",), ((30, b"mimetypeapplication/x-krita"),)),
    Kind("an OpenRaster document", "export it as PNG", (".ora",), ((30, b"mimetypeimage/openraster"),)),
    Kind(
        "a JPEG XL picture",
        _SAVE,
        (".jxl",),
        ((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL \r\n\x87\n")),
    ),
    Kind(
        "a JPEG 2000 picture",
        _SAVE,
        (".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".jpc"),
        ((0, b"\0\0\0\x0cjP  \r\n\x87\n"), (0, b"\xff\x4f\xff\x51")),
    ),
    Kind("a JPEG XR picture", _SAVE, (".jxr", ".wdp", ".hdp"), ((0, b"II\xbc\x01"),)),
    Kind("a BPG picture", _SAVE, (".bpg",), ((0, b"BPG\xfb"),)),
    Kind("a FLIF picture", _SAVE, (".flif",), ((0, b"FLIF"),)),
    Kind("a QOI picture", _SAVE, (".qoi",), ((0, b"qoif"),)),
    Kind("a DDS texture", _SAVE, (".dds",), ((0, b"DDS "),)),
    Kind(
        "a Targa picture", _SAVE, (".tga",), tuple((0, b"\0\0%c\0\0\0\0\0" % kind) for kind in b"\2\3\n\x0b")
    ),
    Kind(
        "a PCX picture",
        _SAVE,
        (".pcx", ".dcx"),
        tuple((0, b"\n%c\1" % version) for version in (0, 2, 3, 4, 5)),
    ),
    Kind("a picture of several views", "save each of them as JPEG or PNG", (".mpo", ".jps", ".pns")),
    Kind(
        "a picture of an early workstation",
        _SAVE,
        (".sgi", ".ras", ".xwd", ".pict", ".pct"),
        ((0, b"\x01\xda"), (0, b"\x59\xa6\x6a\x95")),
    ),
    Kind("an X bitmap or pixmap", _SAVE, (".xbm", ".xpm"), ((0, b"/* XPM */"),)),
    Kind(
        "a Windows metafile",
        "draw it as PNG in the size that you need",
        (".emf", ".wmf"),
        ((0, b"\xd7\xcd\xc6\x9a"),),
    ),
    Kind(
        "an icon", f"{_SAVE} in the size that you need", (".ico", ".icns"), ((0, b"\0\0\1\0"), (0, b"icns"))
    ),
    Kind("a cursor", _SAVE, (".cur",)),
    Kind(
        "a Netpbm picture",
        _SAVE,
        (".ppm", ".pgm", ".pbm", ".pnm", ".pam"),
        tuple((0, b"P%d%c" % (digit, end)) for digit in range(1, 8) for end in b"\n\r\t "),
    ),
    Kind("a DPX film frame", _DEEP, (".dpx",), ((0, b"SDPX"), (0, b"XPDS"))),
    Kind("a DICOM picture", "save it as PNG in a program for medical pictures", (".dcm",), ((128, b"DICM"),)),
    Kind("a FITS picture", _DEEP, (".fits", ".fit", ".fts"), ((0, b"SIMPLE  ="),)),
    Kind("an SVG drawing", "draw it as PNG in the size that you need: it has no pixels", (".svg", ".svgz")),
    Kind("an EPS drawing", "draw it as PNG in the size that you need", (".eps",), ((0, b"%!PS"),)),
    Kind("an animated PNG", "save each of its frames as PNG", (".apng",)),
)
_SVG = next(kind for kind in _OTHER_PICTURES if ".svg" in kind.suffixes)

_OTHER_FILES = (
    _VIDEO,
    Kind(
        "a Git LFS pointer, not the picture",
        "fetch it with git lfs pull",
        starts=((0, b"version https://git-lfs"),),
    ),
    Kind(
        "a git-annex pointer, not the picture",
        "fetch it with git annex get",
        starts=((0, b"/annex/objects/"),),
    ),
    Kind(
        "macOS's notes about a file, not the file",
        "remove it",
        starts=((0, b"\0\5\x16\7"), (0, b"\0\5\x16\0")),
    ),
    Kind("a PDF", "save its pictures or pages as PNG", starts=((0, b"%PDF"),)),
    Kind("a ZIP archive", _UNPACK, starts=((0, b"PK\3\4"), (0, b"PK\5\6"), (0, b"PK\7\x08"))),
    Kind("a RAR archive", _UNPACK, starts=((0, b"Rar!\x1a\7"),)),
    Kind("a 7z archive", _UNPACK, starts=((0, b"7z\xbc\xaf'\x1c"),)),
    Kind("a tar archive", _UNPACK, starts=((257, b"ustar"),)),
    Kind(
        "a compressed file",
        _UNPACK,
        starts=((0, b"\x1f\x8b"), (0, b"BZh"), (0, b"\xfd7zXZ\0"), (0, b"\x28\xb5\x2f\xfd")),
    ),
    Kind("a numpy array", "save it as PNG", starts=((0, b"\x93NUMPY"),)),
)

OTHER_SUFFIXES = {suffix: kind for kind in _OTHER_PICTURES for suffix in kind.suffixes}
"""Suffixes of pictures that belong to no set, and their kinds."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body")


def kind_of(head: bytes) -> Kind | None:
    """Return the kind of a file that begins with these bytes (`HEAD` of them, or the whole file), if it is known."""
    if not head:
        return Kind("empty", _FETCH)
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    for kind in (*_READ, *_OTHER_PICTURES, TIFF, *_OTHER_FILES):
        if any(head[offset : offset + len(start)] == start for offset, start in kind.starts):
            return kind
    if not head.strip(b"\0"):
        return Kind("nothing but zeros, as broken copies are", _FETCH)
    return _of_text(head)


def is_read(kind: Kind | None) -> bool:
    """Return whether this kind is a picture of a set: PNG, JPEG, WebP or BMP."""
    return kind in _READ


def describe_left_out(files: Iterable[Path]) -> str:
    """Return one line about pictures whose formats are not read: how many of which kind, examples, and the way out.

    Args:
      files: at least one, with suffixes of `OTHER_SUFFIXES`.
    """
    groups: dict[Kind, list[str]] = {}
    for file in files:
        groups.setdefault(OTHER_SUFFIXES[file.suffix.lower()], []).append(file.name)
    parts = []
    for kind, names in groups.items():
        some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        parts.append(f"{some} ({kind.name}: {kind.way_out})")
    count = sum(map(len, groups.values()))
    return f"{count} picture{'s' * (count > 1)} of other formats left out: {'; '.join(parts)}"


def _of_brands(head: bytes) -> Kind:
    """Return the kind of a file in the ISO base media format, by its brands (ISO/IEC 14496-12, 4.3)."""
    end = max(16, min(int.from_bytes(head[:4]), len(head)))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    for kind, known in ((AVIF, _AVIF_BRANDS), (_RAW_FILE, {b"crx "}), (HEIC, _HEIF_BRANDS)):
        if brands & known:
            return kind
    return _VIDEO


def _of_text(head: bytes) -> Kind | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_PAGES):
        return Kind("a web page", _FETCH)
    if b"<svg" in text and text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")):
        return _SVG
    if text.startswith(b"<?xml"):
        return Kind("an XML file, as servers send with errors", _FETCH)
    try:
        words = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not a letter that the end of `head` cuts
            return None
        words = head[: error.start].decode()
    if words.isprintable() or not any(letter < " " and letter not in "\t\n\r\f" for letter in words):
        return Kind("a text file", _NO_PICTURE)
    return None
