"""PNG files with long texts and profiles: the pixels are read as always, and memory stays bounded."""

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from helpers import profiles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from esrgan_jax.imaging import image_size, read_rgb
from esrgan_jax.imaging.png_texts import without_texts
from esrgan_jax.imaging.read_picture import read_picture
from esrgan_jax.imaging.write_picture import write_picture

MANY = 3_000_000


def picture(dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (7, 9, 3), dtype)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, *extra, dtype=np.uint8, behind=False):
    """A PNG with further chunks in front of its pixels, or behind them."""
    assert cv2.imwrite(str(path), picture(dtype)[..., ::-1])
    data = path.read_bytes()
    place = len(data) - 12 if behind else 33
    path.write_bytes(data[:place] + b"".join(chunk(*one) for one in extra) + data[place:])
    return path


def long_profile(size):
    profile = profiles.adobe_rgb()
    return struct.pack(">I", size) + profile[4:] + bytes(size - len(profile))


def ztxt(text, key=b"Comment"):
    return b"zTXt", key + b"\0\0" + zlib.compress(text)


def itxt(text, key=b"Comment", packed=True):
    return b"iTXt", key + bytes([0, packed, 0]) + b"de\0\0" + (zlib.compress(text) if packed else text)


LONG = {
    "ztxt": ztxt(b"a" * MANY),
    "itxt": itxt(b"a" * MANY),
    "text": (b"tEXt", b"Comment\0" + b"a" * MANY),
    "iccp": (b"iCCP", b"wide\0\0" + zlib.compress(long_profile(MANY))),
    "damaged": (b"zTXt", b"Comment\0\0no zlib at all"),
    "method": (b"zTXt", b"Comment\0\7" + zlib.compress(b"a")),
    "xmp": itxt(b"<x>" * MANY, b"XML:com.adobe.xmp"),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", LONG)
def test_pixels_are_read_as_always(tmp_path, capfd, name, dtype, behind):
    path = png(tmp_path / "a.png", LONG[name], dtype=dtype, behind=behind)
    pixels = picture(dtype)
    np.testing.assert_array_equal(read_picture(path).pixels, pixels)
    np.testing.assert_array_equal(read_rgb(path), pixels if dtype == np.uint8 else np.rint(pixels / 257))
    assert image_size(path) == (7, 9)
    assert capfd.readouterr() == ("", "")


def test_texts_and_profile_are_kept(tmp_path):
    read = read_picture(png(tmp_path / "a.png", LONG["iccp"], LONG["ztxt"], LONG["itxt"]))
    assert read.metadata.icc == long_profile(MANY)
    assert read.notes == ()
    for suffix in ("png", "jpg", "tif", "webp"):
        write_picture(tmp_path / f"b.{suffix}", read)
    again = read_picture(tmp_path / "b.png").metadata
    assert again == read.metadata
    assert again.png_chunks == (LONG["ztxt"], LONG["itxt"])
    for suffix in ("jpg", "tif", "webp"):
        with Image.open(tmp_path / f"b.{suffix}") as image:
            assert image.info["icc_profile"] == long_profile(MANY)


def test_what_is_left_out_is_noted(tmp_path):
    bomb = (b"iCCP", b"wide\0\0" + zlib.compress(long_profile(17_000_000)))
    read = read_picture(png(tmp_path / "a.png", bomb, LONG["xmp"]))
    assert read.metadata.icc is None
    assert read.metadata.xmp is None
    assert "colour profile is damaged, or larger than 16 MB, and was left out" in read.notes[0]
    assert "XMP or EXIF data in it is damaged, or larger than 1 MB" in read.notes[1]


@pytest.mark.parametrize("packed", [False, True])
def test_short_xmp_and_exif_are_read_as_ever(tmp_path, packed):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    text = exif.tobytes()
    raw = b"\nexif\n%8d\n%s\n" % (len(text), text.hex().encode())
    key = b"Raw profile type exif"
    chunks = [
        itxt(b"<x:xmpmeta/>", b"XML:com.adobe.xmp", packed),
        ztxt(raw, key) if packed else (b"tEXt", key + b"\0" + raw),
    ]
    metadata = read_picture(png(tmp_path / "a.png", *chunks)).metadata
    assert metadata.xmp == b"<x:xmpmeta/>"
    assert b"Maker" in metadata.exif


CHUNKS = st.tuples(
    st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP"]),
    st.builds(
        bytes.__add__,
        st.sampled_from(
            [b"", b"a\0", b"a\0\0", b"a\0\1\0\0\0", b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"]
        ),
        st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(zlib.compress)),
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(CHUNKS, max_size=6), behind=st.booleans())
def test_no_text_keeps_the_pixels_from_being_read(tmp_path, chunks, behind):
    path = png(tmp_path / "a.png", *chunks, behind=behind)
    np.testing.assert_array_equal(read_picture(path).pixels, picture())
    np.testing.assert_array_equal(read_rgb(path), picture())
    write_picture(tmp_path / "b.png", read_picture(path))
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.png"), picture())


def test_a_bomb_takes_no_memory(tmp_path):
    bomb = zlib.compress(bytes(200_000_000))  # 0.2 MB
    extra = [
        (b"iCCP", b"wide\0\0" + bomb),
        (b"zTXt", b"a\0\0" + bomb),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
    ]
    path = png(
        tmp_path / "a.png", *extra, *[ztxt(b"b" * 900_000, b"Raw profile type b%d" % n) for n in range(20)]
    )
    for read in (read_rgb, read_picture, image_size):
        tracemalloc.start()
        read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 90_000_000, read


def test_a_file_without_texts_is_not_copied(tmp_path):
    with png(tmp_path / "a.png").open("rb") as file:
        assert without_texts(file) is file
        assert file.tell() == 0
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff")
    with (tmp_path / "b.jpg").open("rb") as file:
        assert without_texts(file, header_only=True) is file


def test_a_header_is_read_without_the_pixels(tmp_path):
    path = png(tmp_path / "a.png", LONG["ztxt"])
    with path.open("rb") as file:
        assert len(without_texts(file, header_only=True).read()) == 33 + 8
