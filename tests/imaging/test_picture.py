"""Picture files with all that belongs to them, written and read back by other programs' libraries."""

import io
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from helpers import profiles
from PIL import ExifTags, Image, ImageCms

from esrgan_jax.errors import DataError
from esrgan_jax.imaging.metadata import Metadata
from esrgan_jax.imaging.picture import Picture, fill_transparent
from esrgan_jax.imaging.read_picture import read_picture
from esrgan_jax.imaging.rgb_files import read_rgb
from esrgan_jax.imaging.write_picture import check_size, fit_to_format, write_picture, write_rows

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def random(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def smooth(height=60, width=80, channels=3, dtype=np.uint8):
    image = cv2.resize(random((6, 8, channels)), (width, height), interpolation=cv2.INTER_CUBIC)
    image = image.reshape(height, width, channels)[..., 0] if channels == 1 else image
    return image.astype(dtype) * (257 if dtype == np.uint16 else 1)


def to_cv2(samples):
    """RGB(A) as OpenCV wants it."""
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]] if samples.ndim == 3 else samples


def camera_exif(orientation=6, thumbnail=True):
    """What a camera writes: camera, date, exposure, place, size of the picture."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.ExposureTime: 0.004,
        ExifTags.Base.DateTimeOriginal: "2024:05:06 07:08:09",
        ExifTags.Base.ExifImageWidth: 80,
        ExifTags.Base.ExifImageHeight: 60,
    }
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (50.0, 5.0, 1.5),
    }
    data = exif.tobytes()
    if thumbnail:  # a second directory, as cameras write it
        buffer = io.BytesIO()
        Image.fromarray(smooth(12, 16)).save(buffer, "JPEG")
        data = data[6:]
        count = struct.unpack("<H", data[8:10])[0]
        link = 10 + 12 * count
        start = len(data)
        second = struct.pack("<HHHLLHHLL", 2, 513, 4, 1, start + 30, 514, 4, 1, len(buffer.getvalue()))
        data = (
            data[:link] + struct.pack("<L", start) + data[link + 4 :] + second + bytes(4) + buffer.getvalue()
        )
        data = b"Exif\0\0" + data
    return data


def refused(path):
    """The one sentence that names the file."""
    with pytest.raises(DataError, match=re.escape(str(path))) as caught:
        read_picture(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# ---- reading


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("top", [200, 65535])
def test_16_bits_are_what_the_file_has_not_how_bright_it_is(tmp_path, suffix, channels, top):
    samples = (random((13, 17, channels), np.uint16).astype(int) * top // 65535).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), to_cv2(samples) if channels > 1 else samples)
    picture = read_picture(path)
    assert picture.pixels.dtype == np.uint16
    assert picture.pixels.ndim == (2 if channels == 1 else 3)
    assert (picture.alpha is not None) == (channels == 4)
    np.testing.assert_array_equal(picture.samples(), samples)
    assert picture.notes == ()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_8_bits_come_as_they_are(tmp_path, mode, suffix):
    samples = random((13, 17, len(mode)))
    image = Image.fromarray(samples[..., 0] if mode == "L" else samples)
    image.save(tmp_path / f"a.{suffix}")
    picture = read_picture(tmp_path / f"a.{suffix}")
    assert picture.pixels.ndim == (2 if mode[0] == "L" else 3)
    np.testing.assert_array_equal(picture.samples(), samples)


def png_of(depth, colour_type, lines, width, transparent=b""):
    """A PNG written by hand: of kinds that no library at hand writes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(lines), depth, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line for line in lines))
    extra = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_16_bit_grey_with_alpha(tmp_path):
    samples = random((5, 7, 2), np.uint16)
    (tmp_path / "a.png").write_bytes(png_of(16, 4, [row.astype(">u2").tobytes() for row in samples], 7))
    picture = read_picture(tmp_path / "a.png")
    assert picture.pixels.ndim == 2
    np.testing.assert_array_equal(picture.samples(), samples)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_that_is_transparent(tmp_path, depth):
    """The key counts in the file's own levels."""
    levels = np.arange(8) % 2**depth if depth < 8 else np.arange(8)
    bits = "".join(f"{level:0{depth}b}" for level in levels)
    line = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    (tmp_path / "a.png").write_bytes(png_of(depth, 0, [line], 8, struct.pack(">H", 1)))
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.alpha[0] == 0, levels == 1)
    assert picture.pixels.dtype == (np.uint16 if depth == 16 else np.uint8)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_colour_that_is_transparent(tmp_path, depth):
    dtype = np.uint16 if depth == 16 else np.uint8
    pixels = random((5, 7, 3), dtype)
    lines = [row.astype(f">u{depth // 8}").tobytes() for row in pixels]
    key = struct.pack(">HHH", *map(int, pixels[2, 3]))
    (tmp_path / "a.png").write_bytes(png_of(depth, 2, lines, 7, key))
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert np.argwhere(picture.alpha == 0).tolist() == [[2, 3]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_with_white_as_zero(tmp_path, dtype):
    pixels = random((9, 11), dtype)
    tifffile.imwrite(tmp_path / "a.tif", np.iinfo(dtype).max - pixels, photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, pixels)


def test_tiff_with_planes(tmp_path):
    pixels = random((9, 11, 3))
    for dtype in (np.uint8, np.uint16):
        planes = np.moveaxis(pixels.astype(dtype), 2, 0)
        tifffile.imwrite(
            tmp_path / f"{dtype.__name__}.tif", planes, photometric="rgb", planarconfig="separate"
        )
    np.testing.assert_array_equal(read_picture(tmp_path / "uint8.tif").pixels, pixels)
    assert "planes" in refused(tmp_path / "uint16.tif")
    with pytest.raises(DataError, match="planes"):
        read_rgb(tmp_path / "uint16.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_premultiplied_tiff(tmp_path, dtype):
    top = np.iinfo(dtype).max
    alpha = np.full((4, 4, 1), top // 2, dtype)
    pixels = np.full((4, 4, 3), top // 5, dtype)
    stored = np.concatenate([(pixels * (alpha / top)).round().astype(dtype), alpha], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "a.tif")
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= 1
    np.testing.assert_array_equal(picture.alpha, alpha[..., 0])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation(tmp_path, orientation, bits):
    pixels = random((6, 9, 3), np.uint16 if bits == 16 else np.uint8)
    tags = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags, metadata=None)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray((pixels >> (bits - 8)).astype(np.uint8)).save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as image:
        from PIL import ImageOps

        upright = np.asarray(ImageOps.exif_transpose(image))
    result = read_picture(tmp_path / "a.tif").pixels
    np.testing.assert_array_equal(result >> (bits - 8), upright)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_that_lies_as_its_xmp_says(tmp_path, dtype):
    pixels = random((6, 9, 3), dtype)
    tags = [(700, 1, len(XMP), XMP, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags, metadata=None)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, np.rot90(pixels, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_orientation_is_carried_out(tmp_path, orientation, suffix):
    from PIL import ImageOps

    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(smooth()).save(path, exif=camera_exif(orientation), xmp=XMP, **options)
    picture = read_picture(path)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(picture.pixels, np.asarray(upright))
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert exif[ExifTags.Base.Orientation] == 1
    assert not exif.get_ifd(ExifTags.IFD.IFD1)  # the thumbnail was of the picture as it lay
    assert len(picture.metadata.exif) < 400
    if suffix != "png":
        assert b'tiff:Orientation="1"' in picture.metadata.xmp


@pytest.mark.parametrize("transparency", [None, 3, bytes([0, 128, 255])])
def test_palettes_become_rgb(tmp_path, transparency):
    indexed = Image.fromarray(smooth()).quantize(16)
    options = {} if transparency is None else {"transparency": transparency}
    indexed.save(tmp_path / "a.png", **options)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, np.asarray(indexed.convert("RGB")))
    assert (picture.alpha is None) == (transparency is None)
    if transparency is not None:
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(picture.alpha, np.asarray(image.convert("RGBA"))[..., 3])
    assert "palette" in picture.notes[0]


def test_black_and_white(tmp_path):
    bits = smooth()[..., 0] > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, bits * np.uint8(255))


def test_cmyk_goes_through_its_profile(tmp_path):
    """The profile turns every ink into the same grey: nothing but the profile can give that."""
    cmyk = Image.fromarray(smooth()).convert("CMYK")
    cmyk.save(tmp_path / "a.jpg", icc_profile=profiles.cmyk_to_lab(l_star=50), quality=100)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.metadata.icc is None  # of CMYK; the pixels are sRGB now
    assert picture.notes == ("CMYK became sRGB",)
    assert np.abs(picture.pixels.astype(int) - 119).max() <= 2  # L* 50 in sRGB


def test_cmyk_without_a_usable_profile_says_so(tmp_path):
    cmyk = Image.fromarray(smooth()).convert("CMYK")
    cmyk.save(tmp_path / "a.jpg")
    assert "guess" in read_picture(tmp_path / "a.jpg").notes[0]
    cmyk.save(tmp_path / "b.jpg", icc_profile=b"not a profile" * 20)
    assert "guess" in read_picture(tmp_path / "b.jpg").notes[0]
    cmyk.save(tmp_path / "c.tif", icc_profile=profiles.adobe_rgb())
    assert "guess" in read_picture(tmp_path / "c.tif").notes[0]


def test_16_bit_cmyk(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", random((8, 9, 4), np.uint16), photometric="separated")
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.uint8
    assert len(picture.notes) == 2


def test_a_profile_of_another_kind_is_left_out(tmp_path):
    Image.fromarray(smooth()[..., 0]).save(tmp_path / "a.jpg", icc_profile=profiles.adobe_rgb())
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.metadata.icc is None
    assert "profile" in picture.notes[0]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_damaged_exif_is_left_out(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fabc")
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.metadata.exif is None
    assert picture.height == 60


def test_phone_photo_with_a_second_picture(tmp_path):
    first, second = Image.fromarray(smooth()), Image.fromarray(smooth(30, 40))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    picture = read_picture(tmp_path / "a.jpg")
    assert (picture.height, picture.width) == (60, 80)
    assert "further pictures" in picture.notes[0]


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "gif", "avif"])
def test_of_an_animation_the_first_frame_on_request(tmp_path, suffix):
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 100, 200)]
    options = {} if suffix == "tif" else {"duration": 40}
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    words = "has 3 pages" if suffix == "tif" else r"is animated \(3 frames\)"
    assert re.search(f"{words}: save each as one file, or .*--first-frame", refused(path))
    picture = read_picture(path, first_frame=True)
    assert picture.pixels.shape == (8, 8, 3)
    assert picture.pixels.max() <= 4
    assert re.search(f"it {words}: the first was taken", picture.notes[-1])


def test_tiff_with_a_smaller_version_of_itself(tmp_path):
    pixels = random((16, 16, 3))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb")
        file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint32, np.int16])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_numbers_are_refused(tmp_path, dtype, channels):
    values = np.ones((4, 5, channels), dtype).squeeze()
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if channels == 3 else "minisblack")
    assert "8 or 16 bits" in refused(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "deep.png", "deep.tif"])
def test_truncated_files_are_refused(tmp_path, name, capfd):
    path = tmp_path / name
    dtype = np.uint16 if "deep" in name else np.uint8
    cv2.imwrite(str(path), smooth(dtype=dtype))
    whole = path.read_bytes()
    for share in (0, 0.02, 0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(path)
    refused(tmp_path / "missing.png")
    assert capfd.readouterr() == ("", "")


# ---- writing


def assert_is(path, samples):
    """Pillow, OpenCV and tifffile agree that these are the file's samples."""
    depth = samples.dtype.itemsize * 8
    flat = samples[..., 0] if samples.shape[2] == 1 else samples
    with Image.open(path) as image:
        image.load()
        assert image.size == samples.shape[1::-1]
        if depth == 8:
            np.testing.assert_array_equal(np.asarray(image), flat)
    if samples.shape[2] != 2 and (samples.shape[2], depth, path.suffix) != (4, 8, ".tif"):
        # OpenCV reads no grey with alpha, and premultiplies the alpha of 8-bit TIFFs.
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), to_cv2(flat))
    if path.suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(path), flat)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("suffix", "samples"),
    [("png", 1), ("png", 2), ("png", 3), ("png", 4), ("tif", 1), ("tif", 3), ("tif", 4)],
)
def test_rows_are_written_as_they_arrive(tmp_path, suffix, samples, dtype):
    path = tmp_path / f"a.{suffix}"
    content = np.concatenate([random((40, 300, samples), dtype), np.zeros((700, 300, samples), dtype)])
    content[60:, 50:] = smooth(680, 250, samples, dtype).reshape(680, 250, samples)
    cuts = np.split(content, [1, 7, 8, 300, 301, 739])
    write_rows(path, iter(cuts), content.shape, content.dtype, Metadata())
    assert_is(path, content)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (500, 1, 1), (3, 7, 4)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_smallest_pictures(tmp_path, suffix, shape):
    path = tmp_path / f"a.{suffix}"
    write_rows(path, [random(shape)], shape, np.dtype(np.uint8), Metadata())
    assert_is(path, random(shape))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_png_is_small(tmp_path, suffix):
    """As small as Pillow's, nearly: the filters and the predictor work."""
    image = smooth(400, 500)
    write_picture(tmp_path / f"own.{suffix}", Picture(image))
    Image.fromarray(image).save(tmp_path / "other.png")
    assert (tmp_path / f"own.{suffix}").stat().st_size < 1.5 * (tmp_path / "other.png").stat().st_size


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_wrong_number_of_rows_leaves_no_file(tmp_path, suffix):
    for wanted, given in ((10, 9), (10, 11), (1200, 3000)):
        pieces = np.array_split(random((given, 300, 3)), 3)
        with pytest.raises(ValueError, match="rows"):
            write_rows(tmp_path / f"a.{suffix}", pieces, (wanted, 300, 3), np.dtype(np.uint8), Metadata())
        assert not any(tmp_path.iterdir())


def test_bigtiff(tmp_path, monkeypatch):
    from esrgan_jax.imaging import tiff_rows

    monkeypatch.setattr(tiff_rows, "_CLASSIC", 1000)
    exif = camera_exif(orientation=1, thumbnail=False).removeprefix(b"Exif\0\0")
    picture = Picture(random((30, 40, 3)), metadata=Metadata(exif=exif))
    write_picture(tmp_path / "a.tif", picture)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        assert file.pages.first.tags[34665].value["DateTimeOriginal"] == "2024:05:06 07:08:09"
    assert_is(tmp_path / "a.tif", random((30, 40, 3)))


@pytest.mark.parametrize("source", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("target", ["png", "jpg", "webp", "tif"])
def test_metadata_goes_from_every_format_to_every_format(tmp_path, source, target):
    profile = profiles.adobe_rgb()
    upright = XMP.replace(b'"6"', b'"1"')
    options = {"exif": camera_exif(orientation=1), "icc_profile": profile, "dpi": (200, 200)}
    if source == "png":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", upright.decode())
    elif source == "tif":
        options["exif"] = Image.Exif()
        options["exif"].load(camera_exif(orientation=1, thumbnail=False))
        options["exif"][700] = upright
    else:
        options["xmp"] = upright
    Image.fromarray(smooth()).save(tmp_path / f"in.{source}", **options)
    picture = read_picture(tmp_path / f"in.{source}")
    larger = Picture(np.repeat(np.repeat(picture.pixels, 2, 0), 2, 1), metadata=picture.metadata)
    assert write_picture(tmp_path / f"out.{target}", larger) == ()

    with Image.open(tmp_path / f"out.{target}") as image:
        image.load()
        assert image.size == (160, 120)
        assert image.info["icc_profile"] == profile
        assert b"xmpmeta" in image.info["xmp"]
        exif = image.getexif()
        assert exif[ExifTags.Base.Make] == "Maker"
        block = exif.get_ifd(ExifTags.IFD.Exif)
        assert block[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"
        assert float(block[ExifTags.Base.ExposureTime]) == pytest.approx(0.004)
        assert (block[ExifTags.Base.ExifImageWidth], block[ExifTags.Base.ExifImageHeight]) == (160, 120)
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (50.0, 5.0, 1.5)
        if "webp" not in (source, target):  # which has no place for it
            assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    if target == "tif":
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            tags = file.pages.first.tags
            assert tags[34665].value["ExposureTime"] is not None
            assert tags[34675].value == profile
    else:
        data = np.fromfile(tmp_path / f"out.{target}", np.uint8)
        _, kinds, contents = cv2.imdecodeWithMetadata(data, cv2.IMREAD_UNCHANGED)
        found = dict(zip(kinds, contents, strict=True))
        assert found[cv2.IMAGE_METADATA_ICCP].tobytes() == profile
        assert b"Maker" in found[cv2.IMAGE_METADATA_EXIF].tobytes()


def test_text_and_gamma_of_a_png_stay(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "steps: 20")
    info.add_itxt("Title", "Fr\u00fchling", zip=True)
    info.add(b"gAMA", struct.pack(">I", 100_000))
    Image.fromarray(smooth()).save(tmp_path / "a.png", pnginfo=info)
    write_picture(tmp_path / "b.png", read_picture(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as image:
        image.load()
        assert image.text == {"parameters": "steps: 20", "Title": "Fr\u00fchling"}
        assert image.info["gamma"] == 1.0


def test_16_bits_are_rounded_to_the_nearest_of_8():
    """128 / 257 goes down, 129 / 257 up; a shift by 8 gives 0 for both."""
    picture = Picture(np.array([[0, 128, 129, 65406, 65407, 65535]], np.uint16)).with_8_bits()
    assert picture.pixels.tolist() == [[0, 0, 1, 254, 255, 255]]


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_16_bits_are_rounded_with_a_note(tmp_path, suffix):
    picture = Picture(smooth(dtype=np.uint16))
    assert write_picture(tmp_path / f"a.{suffix}", picture, quality=100) == ("16 bits were rounded to 8",)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - smooth()).max() <= 5


def test_lossless_webp(tmp_path):
    samples = random((20, 30, 4))
    write_picture(tmp_path / "a.webp", Picture(samples[..., :3], samples[..., 3]), quality=100)
    with Image.open(tmp_path / "a.webp") as image:
        np.testing.assert_array_equal(np.asarray(image), samples)  # colours below alpha 0 too


def test_alpha_goes_over_white_in_jpeg_with_a_note(tmp_path):
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:8] = 128
    notes = write_picture(tmp_path / "a.jpg", Picture(np.zeros((16, 16, 3), np.uint8), alpha))
    assert "white" in notes[0]
    with Image.open(tmp_path / "a.jpg") as image:
        values = np.asarray(image).astype(int)
    assert np.abs(values[:7] - 127).max() <= 3
    assert np.abs(values[9:] - 255).max() <= 3


def test_grey_with_alpha_in_tiff_is_rgba(tmp_path):
    pixels, alpha = random((9, 9), np.uint16), random((9, 9), np.uint16, seed=1)
    assert len(write_picture(tmp_path / "a.tif", Picture(pixels, alpha))) == 1
    assert_is(tmp_path / "a.tif", np.stack([pixels, pixels, pixels, alpha], axis=-1))


def test_grey_jpeg_stays_grey_and_keeps_its_profile(tmp_path):
    profile = profiles.grey()
    Image.fromarray(smooth()[..., 0]).save(tmp_path / "a.jpg", icc_profile=profile)
    picture = read_picture(tmp_path / "a.jpg")
    for name, mode in (("b.jpg", "L"), ("b.png", "L"), ("b.tif", "L"), ("b.webp", "RGB")):
        notes = write_picture(tmp_path / name, picture)
        with Image.open(tmp_path / name) as image:
            assert image.mode == mode
            assert image.info.get("icc_profile") == (profile if mode == "L" else None)
        assert bool(notes) == (mode == "RGB")


def test_what_jpeg_cannot_hold_is_left_out_with_a_note():
    metadata = Metadata(xmp=b"x" * 70_000)
    fitted = fit_to_format(Picture(smooth(), metadata=metadata), "a.jpg")
    assert fitted.metadata.xmp is None
    assert "XMP" in fitted.notes[0]


def test_sizes_that_a_format_cannot_have():
    check_size("a.png", 70_000, 70_000)
    check_size("a.jpg", 65_500, 1)
    for name, side in (("a.jpg", 65_501), ("a.webp", 16_384)):
        with pytest.raises(DataError, match=r"choose PNG or TIFF\.$"):
            check_size(name, 1, side)


# ---- alpha


def test_bleed_fills_with_the_nearest_visible_colour():
    pixels = random((30, 40, 3))
    alpha = np.where(random((30, 40), seed=3) < 200, 0, random((30, 40), seed=4)).astype(np.uint8)
    alpha[:8] = 0
    result = fill_transparent(pixels, alpha)
    visible = np.argwhere(alpha > 0)
    np.testing.assert_array_equal(result[alpha > 0], pixels[alpha > 0])
    for y, x in np.argwhere(alpha == 0):
        distance = np.hypot(*(visible - (y, x)).T)
        # OpenCV's distances are good to 2 %.
        near = visible[distance <= 1.03 * distance.min()]
        assert (result[y, x] == pixels[tuple(near.T)]).all(axis=-1).any()


def test_bleed_leaves_the_rest_alone():
    pixels = random((5, 6, 3))
    assert fill_transparent(pixels, np.full((5, 6), 1, np.uint8)) is pixels
    assert fill_transparent(pixels, np.zeros((5, 6), np.uint8)) is pixels


def test_adobe_rgb_of_these_tests_is_what_colour_managers_take_it_for():
    green = Image.new("RGB", (1, 1), (0, 255, 0))
    source = ImageCms.ImageCmsProfile(io.BytesIO(profiles.adobe_rgb()))
    lab = ImageCms.profileToProfile(green, source, ImageCms.createProfile("LAB"), outputMode="LAB")
    lightness, a, _ = (np.frombuffer(lab.tobytes(), np.uint8).astype(int)).tolist()
    # L* 83.2, a* -129, b* 87 (relative to D50); sRGB's green has a* -79
    assert abs(lightness - 83 * 2.55) < 3
    assert np.int8(np.uint8(a)) < -120
