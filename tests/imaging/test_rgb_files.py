import io
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from esrgan_jax.errors import DataError
from esrgan_jax.imaging import find_images, image_size, read_rgb, write_png
from esrgan_jax.imaging.open_image import read_errors

LOSSLESS = {
    "png": {},
    "bmp": {},
    "tif": {"compression": "tiff_lzw"},
    "webp": {"lossless": True},
}


def picture(height=24, width=37, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def unreadable(path):
    """The message of the DataError, which must name the file and be one sentence."""
    with pytest.raises(DataError, match=re.escape(str(path))) as caught:
        read_rgb(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_read_exactly(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", picture(), **LOSSLESS[suffix])
    image = read_rgb(path)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    np.testing.assert_array_equal(image, picture())
    assert image_size(path) == (24, 37)


def test_jpeg_reads_as_opencv_does(tmp_path):
    smooth = cv2.resize(picture(6, 8), (160, 120), interpolation=cv2.INTER_CUBIC)
    path = save(tmp_path / "a.jpg", smooth, quality=90)
    np.testing.assert_array_equal(read_rgb(str(path)), cv2.imread(str(path))[..., ::-1])
    assert image_size(str(path)) == (120, 160)


def test_grey_becomes_three_channels(tmp_path):
    grey = picture()[..., 0]
    expected = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "grey.png", grey)), expected)
    with_alpha = Image.fromarray(np.stack([grey, 255 - grey], axis=-1))
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "alpha.png", with_alpha)), expected)


def test_black_and_white(tmp_path):
    bits = picture()[..., 0] > 127
    image = read_rgb(save(tmp_path / "a.png", Image.fromarray(bits)))
    np.testing.assert_array_equal(image, np.stack([bits * 255] * 3, axis=-1))


def test_alpha_is_dropped_not_blended(tmp_path):
    alpha = picture(seed=1)[..., :1]
    path = save(tmp_path / "a.png", np.concatenate([picture(), alpha], axis=-1))
    np.testing.assert_array_equal(read_rgb(path), picture())


@pytest.mark.parametrize("transparency", [None, 3, bytes([0, 128, 255])])
def test_palettes(tmp_path, transparency):
    indexed = Image.fromarray(picture()).quantize(16)
    options = {} if transparency is None else {"transparency": transparency}
    path = save(tmp_path / "a.png", indexed, **options)
    np.testing.assert_array_equal(read_rgb(path), np.asarray(indexed.convert("RGB")))


def test_cmyk_jpeg(tmp_path):
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    path = save(tmp_path / "a.jpg", Image.fromarray(flat).convert("CMYK"), quality=100)
    assert np.abs(read_rgb(path).astype(int) - flat).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_round_to_the_nearest_level(tmp_path, suffix, channels):
    deep = np.random.default_rng(2).integers(0, 65536, (24, 37, channels)).astype(np.uint16)
    deep[0, :4] = [
        [0],
        [128],
        [129],
        [65535],
    ]  # 128/257 rounds down, 129/257 up; a shift by 8 gives 0 for both
    path = tmp_path / f"a.{suffix}"
    # OpenCV's order is BGR(A).
    cv2.imwrite(str(path), deep[..., [2, 1, 0, 3][:channels]] if channels > 1 else deep)
    expected = np.round(deep / 257).astype(np.uint8)[..., :3]
    np.testing.assert_array_equal(read_rgb(path), np.broadcast_to(expected, (24, 37, 3)))
    assert image_size(path) == (24, 37)


def test_more_than_16_bits_are_refused(tmp_path):
    path = save(tmp_path / "a.tif", np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4))
    assert "32 bits" in unreadable(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_exif_orientation_is_ignored(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = save(tmp_path / f"a.{suffix}", picture(), exif=exif)
    assert read_rgb(path).shape == (24, 37, 3)
    assert image_size(path) == (24, 37)


def test_exif_orientation_is_ignored_with_16_bits(tmp_path):
    _, encoded = cv2.imencode(".png", picture().astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path = tmp_path / "a.png"
    after_header = 8 + 25
    path.write_bytes(encoded.tobytes()[:after_header] + chunk + encoded.tobytes()[after_header:])
    assert cv2.imread(str(path)).shape == (37, 24, 3)  # OpenCV turns it unless told not to
    assert read_rgb(path).shape == (24, 37, 3)


# In a user's program Pillow's warnings are no errors; what it warns of must be found all the same.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_truncated_files_are_found(tmp_path, suffix):
    whole = save(tmp_path / f"whole.{suffix}", picture(), **LOSSLESS.get(suffix, {})).read_bytes()
    path = tmp_path / f"part.{suffix}"
    # The last bytes of a PNG hold checksums and an end mark only: without them the picture is still whole.
    for size in [*range(0, len(whole) - 32, 97), len(whole) - 32]:
        path.write_bytes(whole[:size])
        unreadable(path)


def test_truncated_16_bit_file_is_found(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), picture().astype(np.uint16) * 257)
    path.write_bytes(path.read_bytes()[:-400])
    unreadable(path)


def test_no_damaged_byte_of_a_png_changes_the_picture(tmp_path):
    whole = save(tmp_path / "whole.png", picture(9, 11)).read_bytes()
    path = tmp_path / "damaged.png"
    found = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            image = read_rgb(path)
        except DataError:
            found += 1
        else:
            np.testing.assert_array_equal(image, picture(9, 11))
    assert found > len(whole) * 0.9


def test_damaged_files_print_nothing(tmp_path, capfd):
    whole = save(tmp_path / "whole.png", picture()).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    unreadable(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")


def test_other_files_are_named(tmp_path):
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    assert "is a text file" in unreadable(text)
    assert "No such file" in unreadable(tmp_path / "missing.png")
    assert "cannot be opened" in unreadable(tmp_path)
    for path in (text, tmp_path / "missing.png"):
        with pytest.raises(DataError, match=re.escape(str(path))):
            image_size(path)


def test_a_picture_larger_than_the_memory():
    with (
        pytest.raises(DataError, match=r"a\.png is too large for this machine's memory"),
        read_errors(Path("a.png")),
    ):
        raise MemoryError


def test_a_picture_larger_than_pillow_allows(tmp_path):
    # 200 megapixels: only the header, which is all that image_size may read.
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path = tmp_path / "large.png"
    path.write_bytes(start + struct.pack(">I", 1 << 20) + b"IDAT")
    assert image_size(path) == (10_000, 20_000)


def test_written_png_reads_back_and_replaces(tmp_path):
    path = tmp_path / "new" / "a.png"
    write_png(path, picture(seed=3))
    write_png(path, picture())
    np.testing.assert_array_equal(read_rgb(path), picture())
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]
    with Image.open(io.BytesIO(path.read_bytes())) as independent:
        np.testing.assert_array_equal(np.asarray(independent), picture())


def test_views_are_written(tmp_path):
    write_png(tmp_path / "a.png", picture()[::2, ::3, ::-1])
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), picture()[::2, ::3, ::-1])


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)]
)
def test_only_8_bit_rgb_is_written(tmp_path, image):
    with pytest.raises(ValueError, match="uint8"):
        write_png(tmp_path / "a.png", image)
    assert not any(tmp_path.iterdir())


def test_find_images(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "folder"
    for name in ["b.PNG", "a.jpg", "sub/c.tiff", "sub/deep/d.webp", "e.JPEG", "f.bmp", "g.tif"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name in ["notes.txt", ".hidden.png", "._b.PNG", ".cache/x.png", "png"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "folder.png").mkdir()
    elsewhere.mkdir()
    (elsewhere / "h.png").touch()
    (folder / "linked").symlink_to(elsewhere, target_is_directory=True)

    found = [path.relative_to(folder).as_posix() for path in find_images(str(folder))]
    expected = ["a.jpg", "b.PNG", "e.JPEG", "f.bmp", "g.tif", "linked/h.png", "sub/c.tiff", "sub/deep/d.webp"]
    assert found == expected


def test_find_images_of_no_folder(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        find_images(tmp_path / "nowhere")
    assert find_images(tmp_path) == []
