"""The kind of picture that goes into an upscaler comes out of it."""

import cv2
import numpy as np
import pytest
from helpers import profiles
from helpers.smooth_network import write_smooth_network
from PIL import ExifTags, Image

from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.imaging.read_picture import read_picture
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.inference import Chain, Upscaler
from esrgan_jax.inference.picture_upscaler import PictureUpscaler


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_smooth_network(tmp_path_factory.mktemp("net") / "smooth.pth")


@pytest.fixture(scope="module")
def upscaler(model):
    return Upscaler(model, tile=64)


def pixels(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_a_model_is_a_path_or_a_module_with_params(model, upscaler):
    image = pixels(9, 12, 3)
    np.testing.assert_array_equal(Upscaler.from_file(model, tile=64)(image), upscaler(image))
    np.testing.assert_array_equal(Upscaler(str(model), tile=64)(image), upscaler(image))
    with pytest.raises(
        ValueError, match=r"`params` belong to a generator, but `model` is the file .*smooth\.pth"
    ):
        Upscaler(model, {})


# ---- arrays


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays(upscaler, shape, dtype):
    image = pixels(*shape) if dtype != np.uint16 else pixels(*shape, dtype=dtype)
    image = (image / 255).astype(dtype) if np.issubdtype(dtype, np.floating) else image
    result = upscaler(image)
    assert (result.shape, result.dtype) == ((80, 120, *shape[2:]), dtype)
    np.testing.assert_array_equal(result, np.concatenate([rows for _, rows in upscaler.strips(image)]))
    batch = np.stack([image, image[::-1]])
    if len(shape) == 3:
        results = upscaler(batch)
        assert results.shape == (2, *result.shape)
        np.testing.assert_array_equal(results, [result, upscaler(image[::-1])])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(20, 31), (20, 31, 4)])
def test_other_sizes(upscaler, dtype, shape):
    """Resized as the command does; floats neither rounded nor clipped."""
    image = (pixels(*shape) / 255).astype(dtype) if dtype == np.float32 else pixels(*shape, dtype=dtype)
    result = upscaler(image, outscale=2.5)
    assert (result.shape, result.dtype) == ((50, 78, *shape[2:]), dtype)
    expected = imresize(upscaler(image).astype(np.float64), 2.5 / 4)
    if dtype == np.float32:
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
    else:
        assert np.abs(result - np.clip(expected, 0, np.iinfo(dtype).max)).max() <= 0.5
    np.testing.assert_array_equal(upscaler(image, outscale=4), upscaler(image))
    with pytest.raises(ConfigError, match=r"outscale \(=0\) must be more than 0"):
        upscaler(image, outscale=0)


def test_floats_a_little_outside_are_pictures(upscaler):
    image = np.float32([[-9e-4, 1 + 9e-4]])
    assert upscaler(image).shape == (4, 8)
    for wrong in (1.002, -0.002, 255):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\]; 0..255 goes in as uint8\."):
            upscaler(np.float32([[0, wrong]]))


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (None, "`picture` has type NoneType; a path, a PIL image, a numpy array or a list of them is needed"),
        ([[1, 2]], "`picture` has type int"),
        (np.zeros((4, 4, 3), np.int32), "dtype int32"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), r"shape \(0, 4, 4, 3\): it is empty"),
        (np.zeros((2, 4, 4, 5), np.uint8), r"shape \(4, 4, 5\)"),
        ([np.zeros((4, 4), np.uint8), np.full((4, 4), np.nan)], "not finite"),
        (Image.new("F", (4, 4)), "mode F, whose range is not known. Convert it to L, I;16 or RGB"),
    ],
)
def test_what_is_no_picture_is_refused(upscaler, picture, sentence):
    with pytest.raises(ValueError, match=sentence):
        upscaler(picture)


def test_an_upscaler_without_parameters(upscaler):
    from esrgan_jax.models import RRDBNet

    with pytest.raises(ValueError, match=r"give Upscaler `params`, or set `upscaler\.params`"):
        Upscaler(RRDBNet(num_feat=8, num_block=1, num_grow_ch=4))(pixels(4, 4))


# ---- PIL images


def with_mode(mode):
    if mode == "P transparent":
        image = with_mode("P")
        image.info["transparency"] = 3
        return image
    if mode == "I;16":
        return Image.fromarray(pixels(10, 12, dtype=np.uint16))
    rgba = Image.fromarray(pixels(10, 12, 4))
    if mode == "PA":
        return rgba.convert("LA").convert("PA")
    if mode in ("La", "RGBa"):
        return rgba.convert(mode.upper()).convert(mode)
    return rgba.convert("RGB").convert(mode) if mode not in ("LA", "RGBA") else rgba.convert(mode)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        *((mode, mode) for mode in ("L", "LA", "RGB", "RGBA", "I;16")),
        *(("1", "L"), ("La", "LA"), ("RGBa", "RGBA")),
        *(("P", "RGB"), ("P transparent", "RGBA"), ("PA", "RGBA")),
        *((mode, "RGB") for mode in ("CMYK", "LAB", "YCbCr", "HSV", "RGBX")),
    ],
)
def test_modes_of_pil(upscaler, mode, expected):
    result = upscaler(with_mode(mode))
    assert (result.mode, result.size) == (expected, (48, 40))
    result = upscaler(with_mode(mode), outscale=0.5)
    assert (result.mode, result.size) == (expected, (6, 5))


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_values_of_pil_images_are_those_of_arrays(upscaler, mode):
    image = with_mode(mode)
    np.testing.assert_array_equal(np.asarray(upscaler(image)), upscaler(np.asarray(image)))


def test_big_endian_16_bits(upscaler):
    image = with_mode("I;16")
    swapped = Image.frombytes("I;16B", image.size, np.asarray(image).astype(">u2").tobytes())
    assert upscaler(swapped) == upscaler(image)


def test_a_transparent_colour_becomes_alpha(upscaler):
    image = Image.fromarray(np.full((8, 8), 65535, np.uint16))
    image.info["transparency"] = 65535
    result = upscaler(image)
    assert result.mode == "LA"
    assert result.getpixel((16, 16)) == (255, 0)


def test_alpha_of_pil_images_is_that_of_files(upscaler, tmp_path):
    image = pixels(10, 12, 4)
    image[2:5, 3:9, 3] = 0
    Image.fromarray(image).save(tmp_path / "a.png")
    expected = PictureUpscaler(upscaler)(read_picture(tmp_path / "a.png")).samples()
    for picture in (Image.fromarray(image), tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(np.asarray(upscaler(picture)), expected)


def test_profile_and_exif_stay(upscaler, tmp_path):
    """Files come out upright; PIL images lie as they did, and say so."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Maker"
    profile = profiles.adobe_rgb()
    Image.fromarray(pixels(10, 12, 3)).save(
        tmp_path / "a.jpg", exif=exif, icc_profile=profile, dpi=(300, 300)
    )
    upright = upscaler(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        lying = upscaler(image)
        print_image = image.convert("CMYK")
    assert (upright.size, lying.size) == ((40, 48), (48, 40))
    assert [result.getexif()[ExifTags.Base.Orientation] for result in (upright, lying)] == [1, 6]
    for result in (upright, lying):
        assert result.getexif()[ExifTags.Base.Make] == "Maker"
        assert result.info["icc_profile"] == profile
        assert result.info["dpi"] == (300, 300)
    assert "icc_profile" not in upscaler(print_image).info  # it became sRGB


# ---- files


def test_files_of_16_bits(upscaler, tmp_path):
    """Grey stays; Pillow has no mode for colours of 16 bits."""
    grey, rgb = pixels(10, 12, dtype=np.uint16), pixels(10, 12, 3, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "rgb.png"), rgb[..., ::-1])
    grey_result, rgb_result = upscaler([tmp_path / "grey.png", tmp_path / "rgb.png"])
    assert (grey_result.mode, rgb_result.mode) == ("I;16", "RGB")
    np.testing.assert_array_equal(np.asarray(grey_result), upscaler(grey))
    np.testing.assert_array_equal(np.asarray(rgb_result), np.rint(upscaler(rgb) / 257))


def test_files_that_cannot_be_read(upscaler, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png is a text file"):
        upscaler(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"b\.png cannot be opened"):
        upscaler([pixels(4, 4), str(tmp_path / "b.png")])


# ---- several


def test_lists_keep_the_kind_of_each(upscaler, tmp_path):
    Image.fromarray(pixels(8, 9, 3)).save(tmp_path / "a.png")
    grey, batch = pixels(70, 9), pixels(2, 5, 6, 3)
    seen = []
    results = upscaler(
        (tmp_path / "a.png", grey, [batch, with_mode("LA")]),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert isinstance(results, list)
    file, array, (batch_result, image) = results
    assert file.size == (36, 32)
    np.testing.assert_array_equal(array, upscaler(grey))
    np.testing.assert_array_equal(batch_result, upscaler(batch))
    assert image.mode == "LA"
    count = 1 + upscaler.tile_count(70, 9) + 2 + 1
    assert seen == [(i + 1, count) for i in range(count)]
    assert upscaler([]) == []


def test_a_bar(upscaler, capsys):
    upscaler(pixels(70, 9), progress=True)
    count = upscaler.tile_count(70, 9)
    assert f"{count}/{count}" in capsys.readouterr().err
    upscaler(pixels(70, 9), progress=False)
    assert capsys.readouterr().err == ""


def test_chains_take_every_kind_too(upscaler, tmp_path):
    chain = Chain([upscaler, upscaler])
    Image.fromarray(pixels(5, 6, 3)).save(tmp_path / "a.png")
    file, array = chain([tmp_path / "a.png", pixels(5, 6, 3)], outscale=8)
    assert file.size == (48, 40)
    np.testing.assert_array_equal(np.asarray(file), array)
