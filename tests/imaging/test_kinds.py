"""What files are that lie among pictures, each begun by hand as its format's specification says."""

import gzip
import io
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import IMAGE_SUFFIXES, image_size, read_rgb
from esrgan_jax.imaging.kinds import OTHER_SUFFIXES, describe_left_out, kind_of
from esrgan_jax.imaging.open_image import upscaled_suffixes
from esrgan_jax.imaging.read_picture import read_picture


def iso(brand, *compatible):
    brands = brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(100)


def zipped():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.txt", "a")
    return data.getvalue()


DISGUISED = {
    b"": "is empty: fetch",
    bytes(5000): "is nothing but zeros",
    b"\n <HTML><head><title>Sign in</title>": "is a web page: fetch",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "is an XML file",
    b"<?xml version='1.0'?>\n<svg width='9' height='9'/>": "is an SVG drawing: draw it",
    b'{"message": "not found"}': "is a text file: replace or remove it",
    "un fichier de données\n".encode() * 300: "is a text file",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n": "is a Git LFS pointer, .*git lfs pull",
    b"/annex/objects/SHA256E-s9--0.png\n": "is a git-annex pointer, .*git annex get",
    b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(60): "is macOS's notes about a file.*remove it",
    b"%PDF-1.7\n": "is a PDF: save its pictures",
    zipped(): "is a ZIP archive: unpack it",
    gzip.compress(b"a" * 100): "is a compressed file",
    iso(b"heic", b"mif1", b"heic"): "is a HEIC picture: save it as PNG or JPEG",
    iso(b"mif1", b"mif1", b"hevc"): "is a HEIC picture",
    iso(b"mif1", b"mif1", b"avif"): "is an AVIF picture: save it as PNG or JPEG",
    iso(b"crx ", b"crx ", b"isom"): "is a camera's raw file: develop it",
    iso(b"qt  ", b"qt  "): "is a video: save its frames",
    iso(b"isom", b"mp42"): "is a video",
    b"RIFF" + bytes(4) + b"AVI LIST" + bytes(90): "is a video",
    b"II*\0\x10\0\0\0CR\x02\0" + bytes(90): "is a camera's raw file",
    b"FUJIFILMCCD-RAW 0201": "is a camera's raw file",
    b"v/1\x01\x02\0\0\0channels\0": "is an OpenEXR picture: map its values to 16 bits",
    b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n": "is a Radiance HDR picture",
    b"Pf\n3 2\n-1.0\n" + bytes(24): "is a PFM picture of floating-point numbers",
    b"8BPS\0\1" + bytes(90): "is a Photoshop document",
    b"\xff\x0a" + bytes(90): "is a JPEG XL picture",
    b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(90): "is a JPEG 2000 picture",
    b"\0\0\2\0\0\0\0\0\0\0\0\0\2\0\2\0\x18\0" + bytes(12): "is a Targa picture",
    b"P6\n2 2\n255\n" + bytes(12): "is a Netpbm picture",
    b"GIF89a" + bytes(9): "is a GIF: save it as PNG or JPEG",
    b"\x93NUMPY\1\0v\0": "is a numpy array",
    b"\xff\xd8\xff\xe0" + bytes(9): "begins as a JPEG, but is incomplete or damaged",
    b"BM" + bytes(9): "begins as a BMP, but is incomplete or damaged",
    b"\x81\x92\xa3" * 40: "is no picture of a known format, or its beginning is damaged",
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(("data", "sentence"), DISGUISED.items(), ids=map(str, range(len(DISGUISED))))
def test_a_file_with_a_pictures_name_is_called_what_it_is(tmp_path, data, sentence):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for read in (read_rgb, image_size):
        with pytest.raises(DataError, match=rf"photo\.jpg {sentence}.*\.$"):
            read(path)


@pytest.mark.parametrize("length", range(0, 40))
def test_any_beginning_of_a_file_is_looked_at_safely(length):
    for data in DISGUISED:
        kind_of(data[:length])


def test_what_others_are_called_does_not_depend_on_what_is_installed():
    assert not set(IMAGE_SUFFIXES) & OTHER_SUFFIXES.keys()
    assert set(IMAGE_SUFFIXES) < set(upscaled_suffixes()) <= {*IMAGE_SUFFIXES, *OTHER_SUFFIXES}
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in OTHER_SUFFIXES)


def test_hundreds_of_others_are_one_line(tmp_path):
    files = [tmp_path / f"IMG_{number}.HEIC" for number in range(300)] + [tmp_path / "d.gif"]
    line = describe_left_out(files)
    assert "\n" not in line
    assert line.startswith(
        "301 pictures of other formats left out: IMG_0.HEIC, IMG_1.HEIC, IMG_2.HEIC and 297 more ("
    )
    assert 'pip install "esrgan-jax[heif]"' in line
    assert line.endswith("d.gif (a GIF: save it as PNG or JPEG)")


@pytest.mark.parametrize("suffix", ["jfif", "jpe"])
def test_jpegs_other_suffixes(tmp_path, suffix):
    pixels = np.full((12, 20, 3), 99, np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", "JPEG")
    assert np.abs(read_rgb(tmp_path / f"a.{suffix}").astype(int) - 99).max() <= 2


def test_still_gif(tmp_path):
    pixels = np.zeros((12, 20, 3), np.uint8)
    pixels[:, 10:] = (200, 30, 60)
    Image.fromarray(pixels).save(tmp_path / "a.gif")
    picture = read_picture(tmp_path / "a.gif")
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.notes == ("its palette became RGB",)
    assert image_size(tmp_path / "a.gif", for_sets=False) == (12, 20)


@pytest.mark.skipif(
    "avif" not in features.modules or not features.check("avif"), reason="Pillow without AVIF"
)
def test_avif_by_its_content(tmp_path):
    pixels = np.full((12, 20, 3), (200, 30, 60), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.avif", quality=100)
    (tmp_path / "a.avif").rename(tmp_path / "a.jpg")
    picture = read_picture(tmp_path / "a.jpg")
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= 4
    assert image_size(tmp_path / "a.jpg", for_sets=False) == (12, 20)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[:40] + bytes(40))
    with pytest.raises(DataError, match="begins as an AVIF picture, but is incomplete or damaged"):
        read_picture(tmp_path / "a.jpg")


def test_heic_with_its_reader(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    pixels = np.full((64, 48, 3), (200, 30, 60), np.uint8)
    heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "a.heic", quality=100)
    picture = read_picture(tmp_path / "a.heic")
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= 4
    assert ".heic" in upscaled_suffixes()


def test_heic_without_its_reader(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(iso(b"heic", b"mif1", b"heic"))
    with pytest.raises(DataError, match=r'is a HEIC picture: .*pip install "esrgan-jax\[heif\]"\.'):
        read_picture(tmp_path / "a.heic")
    assert ".heic" not in upscaled_suffixes()


def test_raw_picture_in_a_tiff(tmp_path):
    """A DNG under another name: its first page is a small preview, not the picture."""
    with Image.new("RGB", (12, 8)) as preview:
        preview.save(tmp_path / "a.tif", tiffinfo={50706: b"\1\4\0\0"})
    for read in (read_rgb, read_picture):
        with pytest.raises(DataError, match=r"a\.tif is a camera's raw file \(DNG\): develop it"):
            read(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (np.float32, "floating-point values of 32"),
        (np.float16, "floating-point values of 16"),
        (np.uint32, "with values of 32"),
        (np.int16, "signed values of 16"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"compression": "zlib"}])
def test_tiffs_of_other_numbers(tmp_path, dtype, words, options):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((12, 20, 3), dtype), photometric="rgb", **options)
    for read in (read_rgb, read_picture):
        with pytest.raises(DataError, match=rf"a\.tif is a TIFF .*{words} bits: .*PNG or TIFF\."):
            read(tmp_path / "a.tif")


def test_nothing_is_imported_for_formats_that_are_not_met():
    code = "import sys; from esrgan_jax.imaging import read_rgb; assert 'pillow_heif' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
