"""Pictures of every size, dtype and kind through the Upscaler, against the network applied to the whole picture."""

import itertools

import jax
import numpy as np
import pytest
import skimage.data
from helpers.untiled import untiled
from helpers.variables import random_variables

from esrgan_jax.errors import ConfigError, InferenceError, WeightFileError
from esrgan_jax.inference import Upscaler
from esrgan_jax.inference.tile_network import TileNetwork
from esrgan_jax.models import RRDBNet
from esrgan_jax.system.devices import count_compiles
from esrgan_jax.weights.save import save_generator

SIZES = [(1, 1), (1, 500), (3, 7), (127, 129), (213, 320), (300, 600)]
"""height, width; larger ones are in tests/soak/upscale_sizes.py."""


def network(scale=4, **fields):
    module = RRDBNet(scale, **({"num_feat": 16, "num_block": 2, "num_grow_ch": 8} | fields))
    return module, random_variables(module)["params"]


@pytest.fixture(scope="module")
def small():
    return network(num_feat=8, num_block=1, num_grow_ch=4)


def picture(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).random((height, width, channels), np.float32)


@pytest.mark.parametrize(("tile", "compiles"), [(None, 4), (256, 1)])
def test_every_size_is_the_whole_pictures(tile, compiles):
    """Worst difference 1e-5; one compile for each shape of the ladder at most, one in all for a fixed tile."""
    module, params = network(num_feat=8, num_grow_ch=4)
    upscaler = Upscaler(module, params, tile=tile, overlap="exact", devices=jax.local_devices()[:2])
    results = []
    with count_compiles() as compiled:
        results += [upscaler(picture(*size)) for size in SIZES]
    assert compiled["count"] <= compiles
    assert tile is None or compiled["count"] == 1
    for size, result in zip(SIZES, results, strict=True):
        assert result.shape == (size[0] * 4, size[1] * 4, 3)
        np.testing.assert_allclose(result, untiled(module, params, picture(*size)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 1])
@pytest.mark.parametrize("size", [(1, 1), (150, 271)])
def test_unshuffling_networks_take_odd_sizes(scale, size):
    module, params = network(scale, num_block=1, num_feat=8, num_grow_ch=4)
    result = Upscaler(module, params, tile=128 * 2 // scale, overlap="exact")(picture(*size))
    assert result.shape == (size[0] * scale, size[1] * scale, 3)
    np.testing.assert_allclose(result, untiled(module, params, picture(*size)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("scale", "num_upsample"), [(1, 0), (2, 1), (3, 1), (8, 3)])
def test_community_scales(scale, num_upsample):
    module, params = network(scale, num_upsample=num_upsample, num_block=1, num_feat=8, num_grow_ch=4)
    result = Upscaler(module, params, tile=64, overlap="exact")(picture(70, 30))
    np.testing.assert_allclose(result, untiled(module, params, picture(70, 30)), rtol=0, atol=1e-5)


def test_seams_of_the_default_cannot_be_seen():
    """A photo; the default is measured with official weights in docs/upscaling.md."""
    module, params = network(num_block=4)  # sees 64 pixels far: the default overlap is less than twice that
    photo = skimage.data.astronaut()[:64, 100:356].astype(np.float32) / 255
    reference = untiled(module, params, photo)
    blended = Upscaler(module, params, tile=128)(photo)
    plain = Upscaler(module, params, tile=128, overlap=0)(photo)
    assert np.abs(blended - reference).max() < 1 / 255
    assert np.abs(plain - reference).max() > 2 / 255  # the test sees seams where there are some


def test_number_of_devices_changes_no_bit(small):
    image = picture(150, 200, 4)
    results = [Upscaler(*small, tile=64, devices=jax.local_devices()[:n])(image) for n in (1, 3, 8)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_dtypes(small):
    """Integers span their range, and come back rounded and clipped; floats are left as they are."""
    module, params = small
    upscaler = Upscaler(module, params, tile=64)
    bright = jax.tree.map(np.copy, params)
    bright["conv_last"]["bias"] += np.float32([0.7, 0.0, -0.7])  # values below 0 and above 1 come out
    upscaler.params = bright
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535)):
        image = np.random.default_rng(0).integers(0, white, (20, 30, 3), dtype, endpoint=True)
        reference = untiled(module, bright, (image / np.float32(white)).astype(np.float32))
        assert reference.min() < 0
        assert reference.max() > 1
        result = upscaler(image)
        assert result.dtype == dtype
        off = np.abs(result - np.rint(np.clip(reference, 0, 1).astype(np.float64) * white))
        assert off.max() <= (0 if white == 255 else 1)
    for dtype in (np.float16, np.float32, np.float64):
        image = picture(20, 30).astype(dtype)
        result = upscaler(image)
        assert result.dtype == dtype
        reference = untiled(module, bright, image.astype(np.float32)).astype(dtype)
        np.testing.assert_allclose(result, reference, rtol=0, atol=1e-3 if dtype == np.float16 else 1e-6)


def test_grey_and_alpha(small):
    module, params = small
    upscaler = Upscaler(module, params, tile=64)
    image = picture(70, 80, 4)
    grey = untiled(module, params, np.repeat(image[..., 3:], 3, -1)) @ np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(upscaler(image[..., 3]), grey, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(upscaler(image[..., 3:])[..., 0], upscaler(image[..., 3]))
    rgba = upscaler(image)
    np.testing.assert_array_equal(rgba[..., :3], upscaler(image[..., :3]))
    np.testing.assert_array_equal(rgba[..., 3], upscaler(image[..., 3]))


def test_grey_network():
    """Every channel of a coloured picture is a picture of its own to it."""
    module, params = network(num_block=1, num_feat=8, num_grow_ch=4, num_in_ch=1, num_out_ch=1)
    upscaler = Upscaler(module, params, tile=64)
    assert upscaler.channels == 1
    image = picture(20, 30, 4)
    rgba = upscaler(image)
    for channel in range(4):
        one = untiled(module, params, image[..., channel : channel + 1])[..., 0]
        np.testing.assert_allclose(rgba[..., channel], one, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(upscaler(image[..., channel]), rgba[..., channel])


def test_parameters_can_be_exchanged(small):
    module, params = small
    upscaler = Upscaler(module, None)
    upscaler.params = params
    image = picture(10, 12)
    upscaler(image)
    other = random_variables(module, seed=1)["params"]
    with count_compiles() as compiled:
        upscaler.params = jax.device_put(other, jax.local_devices()[3])
        result = upscaler(image)
    assert compiled["count"] == 0
    np.testing.assert_allclose(result, untiled(module, other, image), rtol=0, atol=1e-5)


def test_strips_and_progress(small):
    upscaler = Upscaler(*small, tile=64, overlap=32)
    image = (picture(150, 90, 4) * 255).astype(np.uint8)
    seen = []
    strips = list(upscaler.strips(image, lambda done, total: seen.append((done, total))))
    count = upscaler.tile_count(150, 90, 4)
    assert count == 2 * 4 * 2  # two groups of channels
    assert seen == [(i + 1, count) for i in range(count)]
    assert len(strips) == 4
    assert [y for y, _ in strips] == [0, *itertools.accumulate(len(rows) for _, rows in strips[:-1])]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in strips]), upscaler(image))


def test_ensemble_is_the_mean_of_eight(small):
    """Also across tiles; eight times as many are counted."""
    module, params = small
    image = picture(100, 70)
    upscaler = Upscaler(module, params, tile=64, overlap="exact", ensemble=True)
    assert upscaler.tile_count(100, 70) == 8 * Upscaler(module, params, tile=64, overlap="exact").tile_count(
        100, 70
    )
    total = 0
    for turns, flip in itertools.product(range(4), (False, True)):
        turned = np.rot90(image[:, ::-1] if flip else image, turns)
        back = np.rot90(untiled(module, params, turned), -turns)
        total = total + (back[:, ::-1] if flip else back) / 8
    np.testing.assert_allclose(upscaler(image), total, rtol=0, atol=1e-5)


def test_ensemble_turns_the_mask_too(small):
    module, params = network(2, num_feat=8, num_block=1, num_grow_ch=4)
    image = picture(20, 12)
    total = sum(
        untiled(module, params, image[::y, ::x])[::y, ::x]
        + untiled(module, params, image[::y, ::x].swapaxes(0, 1)).swapaxes(0, 1)[::y, ::x]
        for y, x in itertools.product((1, -1), repeat=2)
    )
    result = Upscaler(module, params, ensemble=True)(image)
    np.testing.assert_allclose(result, total / 8, rtol=0, atol=1e-5)


def test_half_precision_that_overflows_is_computed_again(small):
    """float16 overflows above 65504; the picture is float32's there, and half precision's elsewhere."""
    module, params = small
    params = jax.tree.map(np.copy, params)
    for layer, factor in (("conv_first", 2**14), ("conv_hr", 2**6), ("conv_last", 2**-6)):
        params[layer]["weight"] *= factor
    image = picture(64, 200)
    image[:, :150] *= 2**-14
    full = Upscaler(module, params, tile=64, overlap=0, dtype="float32")(image)
    half = Upscaler(module, params, tile=64, overlap=0, dtype="float16")(image)
    assert np.isfinite(half).all()
    np.testing.assert_array_equal(half[:, -200:], full[:, -200:])  # the last tile
    assert 0 < np.abs(half[:, :256] - full[:, :256]).max() < 0.01  # the first one


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_with_nan_gives_an_error(small, dtype):
    module, params = small
    broken = jax.tree.map(np.copy, params)
    broken["conv_hr"]["bias"][3] = np.nan
    with pytest.raises(InferenceError, match=r"not finite .* in float32 too\. Its weights are damaged"):
        Upscaler(module, broken, dtype=dtype)(picture(3, 4))


class Exhausted:
    """Lets the device run out of memory at chosen calls, where XLA would."""

    def __init__(self, patch, when):
        self.calls = []
        start = TileNetwork._start

        def limited(network, params, batch, dtype):
            self.calls.append(batch[0][0].shape[0])
            if when(self.calls):
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
            return start(network, params, batch, dtype)

        patch.setattr(TileNetwork, "_start", limited)


def test_out_of_memory_halves_the_tile(small, monkeypatch):
    module, params = small
    image = picture(150, 140)
    upscaler = Upscaler(module, params, overlap="exact")
    calls = Exhausted(monkeypatch, lambda calls: calls[-1] > 64).calls
    with pytest.warns(UserWarning, match="ran out of memory with tiles of (128 x 128|256 x 256)") as warned:
        result = upscaler(image)
    assert len(warned) in (1, 2)
    np.testing.assert_allclose(result, untiled(module, params, image), rtol=0, atol=1e-5)
    before = len(calls)
    upscaler(image)  # does not try again
    assert set(calls[before:]) == {64}


def test_out_of_memory_in_the_middle_keeps_what_is_finished(small, monkeypatch):
    """Smaller tiles go on below the strips that were handed out."""
    module, params = small
    image = picture(600, 40)
    upscaler = Upscaler(module, params, tile=128, overlap="exact", devices=jax.local_devices()[:1])
    Exhausted(monkeypatch, lambda calls: len(calls) == 4)
    seen = []
    with pytest.warns(UserWarning, match="128 x 128 pixels; going on with 64 x 64"):
        strips = list(upscaler.strips(image, lambda done, total: seen.append((done, total))))
    assert len(strips[0][1]) > 4 * 64  # of the larger tiles
    assert seen[-1][0] == seen[-1][1]
    result = np.concatenate([rows for _, rows in strips])
    np.testing.assert_allclose(result, untiled(module, params, image), rtol=0, atol=1e-5)


def test_out_of_memory_with_the_smallest_tile(small, monkeypatch):
    Exhausted(monkeypatch, lambda calls: True)
    with pytest.raises(
        InferenceError, match=r"too small even for tiles of 64 x 64 pixels.*JAX_PLATFORMS=cpu"
    ):
        Upscaler(*small)(picture(10, 10))


def test_other_errors_of_the_device_pass_through(small, monkeypatch):
    def fail(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(TileNetwork, "_start", fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        Upscaler(*small)(picture(10, 10))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ([[1, 2]], "is a list"),
        (np.zeros((4, 4, 3), np.int32), "dtype int32"),
        (np.zeros((4, 4, 3), bool), "dtype bool"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"shape \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\): it is empty"),
        (np.full((4, 4, 3), np.nan), "not finite"),
        (
            np.full((4, 4, 3), 254.0),
            r"floats from 254 to 254, which must be in \[0, 1\]; 0..255 goes in as uint8",
        ),
        (np.full((4, 4), -0.01, np.float32), "floats from -0.01 to -0.01"),
        (np.full((4, 4), np.inf, np.float16), "not finite"),
    ],
)
def test_what_is_no_picture_is_refused(small, image, sentence):
    """Before a strip is taken."""
    with pytest.raises(ValueError, match=sentence):
        Upscaler(*small).strips(image)


@pytest.mark.parametrize(
    ("scale", "options", "sentence"),
    [
        (4, {"tile": 32}, r"tile \(=32\) must be at least 64 pixels for this network\."),
        (
            2,
            {"tile": 129},
            r"tile \(=129\) must be at least 128 pixels for this network, and a multiple of 2",
        ),
        (4, {"tile": 64, "overlap": 33}, r"overlap \(=33\) must be at most half of tile \(=64\)"),
        (4, {"overlap": -1}, r"overlap \(=-1\) must not be negative"),
        (4, {"overlap": "all"}, r"overlap \(='all'\) must be a number of pixels, or exact"),
    ],
)
def test_bad_options_are_refused(scale, options, sentence):
    module = RRDBNet(scale, num_feat=8, num_block=1, num_grow_ch=4)
    with pytest.raises(ConfigError, match=sentence):
        Upscaler(module, None, **options)


def test_networks_that_are_not_for_pictures_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="the network takes 4 channels and returns 3"):
        Upscaler(RRDBNet(num_in_ch=4), None)
    module = RRDBNet(num_in_ch=4, num_feat=8, num_block=1, num_grow_ch=4)
    params = random_variables(module)["params"]
    save_generator(tmp_path / "four.pth", module, params, params)
    with pytest.raises(ConfigError, match=r"four\.pth takes 4 channels and returns 3"):
        Upscaler.from_file(tmp_path / "four.pth")


def test_from_file(small, tmp_path):
    module, params = small
    other = random_variables(module, seed=1)["params"]
    save_generator(tmp_path / "net_g.pth", module, params, other)
    image = picture(20, 30)
    upscaler = Upscaler.from_file(tmp_path / "net_g.pth", key="params", tile=64)
    assert upscaler.scale == 4
    np.testing.assert_allclose(upscaler(image), untiled(module, params, image), rtol=0, atol=1e-5)
    ema = Upscaler.from_file(tmp_path / "net_g.pth", tile=64)(image)
    np.testing.assert_allclose(ema, untiled(module, other, image), rtol=0, atol=1e-5)
    with pytest.raises(WeightFileError, match=r"none\.pth does not exist"):
        Upscaler.from_file(tmp_path / "none.pth")
