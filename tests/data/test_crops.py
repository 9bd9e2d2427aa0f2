"""The crop is the same place in both images, and all eight orientations come equally often, in both."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest

from esrgan_jax.data.crops import CropPlace, crop_pair, draw_crop


def crop(pair, gt_size, scale, rng):
    place = draw_crop(pair["lr"].shape[:2], gt_size, scale, rng, hflip=False, rotation=False)
    return crop_pair(pair["lr"], pair["hr"], place, gt_size, scale)


def turn(pair, hflip, rotation, rng):
    """The whole of a square pair, one of its orientations."""
    scale = len(pair["hr"]) // len(pair["lr"])
    place = draw_crop(pair["lr"].shape[:2], len(pair["hr"]), scale, rng, hflip, rotation)
    return crop_pair(pair["lr"], pair["hr"], place, len(pair["hr"]), scale)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_crop_cuts_the_same_place_out_of_both(scale, coordinates):
    pair = coordinates(9, 11, scale)
    rng = np.random.default_rng(0)
    for _ in range(50):
        lr, hr = crop(pair, 5 * scale, scale, rng)
        assert lr.shape == (5, 5, 3)
        assert hr.shape == (5 * scale, 5 * scale, 3)
        y, x = lr[0, 0, :2]
        np.testing.assert_array_equal(lr, pair["lr"][y : y + 5, x : x + 5])
        top, left = y * scale, x * scale
        np.testing.assert_array_equal(hr, pair["hr"][top : top + 5 * scale, left : left + 5 * scale])


def test_crop_reaches_every_place_equally_often(coordinates):
    pair = coordinates(6, 7, 2)
    rng = np.random.default_rng(0)
    places = collections.Counter(tuple(crop(pair, 8, 2, rng)[0][0, 0, :2].tolist()) for _ in range(6000))
    assert set(places) == {(y, x) for y in range(3) for x in range(4)}
    assert max(abs(count - 500) for count in places.values()) < 100  # 4.7 standard deviations


def test_crop_of_the_whole_image(coordinates):
    pair = coordinates(5, 5, 4)
    lr, hr = crop(pair, 20, 4, np.random.default_rng(0))
    np.testing.assert_array_equal(lr, pair["lr"])
    np.testing.assert_array_equal(hr, pair["hr"])


def test_crop_does_not_hold_on_to_the_image(coordinates):
    pair = coordinates(9, 9, 4)
    for patch in crop(pair, 16, 4, np.random.default_rng(0)):
        assert patch.base is None or patch.base.nbytes == patch.nbytes
        assert patch.flags.c_contiguous


def test_crop_refuses_what_does_not_fit(coordinates):
    pair = coordinates(8, 8, 4)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"`gt_size` \(=36\) .* must not exceed"):
        crop(pair, 36, 4, rng)
    with pytest.raises(ValueError, match="multiple"):
        crop(pair, 18, 4, rng)
    with pytest.raises(ValueError, match=r"`scale` \(=2\) times"):
        crop(pair, 16, 2, rng)


def test_place_is_in_hr_pixels_and_turns_after_cutting(coordinates):
    pair = coordinates(9, 11, 4)
    lr, hr = crop_pair(pair["lr"], pair["hr"], CropPlace(8, 12, True, False, True), 16, 4)
    np.testing.assert_array_equal(hr, pair["hr"][8:24, 12:28][:, ::-1].swapaxes(0, 1))
    np.testing.assert_array_equal(lr, pair["lr"][2:6, 3:7][:, ::-1].swapaxes(0, 1))


def orientations(image: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(image, k) for k in range(4)]
    return turned + [one[:, ::-1] for one in turned]


def which(image: np.ndarray, original: np.ndarray) -> int:
    [number] = [n for n, turned in enumerate(orientations(original)) if np.array_equal(image, turned)]
    return number


def test_turning_gives_all_eight_orientations_to_both(coordinates):
    # Noise in HR, so that an orientation shows inside the blocks too.
    lr = coordinates(3, 3, 1)["lr"]
    hr = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    rng = np.random.default_rng(0)
    counts: collections.Counter[int] = collections.Counter()
    for _ in range(2000):
        new_lr, new_hr = turn({"lr": lr, "hr": hr}, True, True, rng)
        assert new_lr.flags.c_contiguous
        assert new_hr.flags.c_contiguous
        number = which(new_lr, lr)
        assert which(new_hr, hr) == number
        counts[number] += 1
    assert set(counts) == set(range(8))
    assert max(abs(count - 250) for count in counts.values()) < 70  # 4.7 standard deviations


@pytest.mark.parametrize(
    ("hflip", "rotation", "number"), [(False, False, 1), (True, False, 2), (False, True, 4)]
)
def test_switches(hflip, rotation, number, coordinates):
    pair = coordinates(3, 3, 2)
    rng = np.random.default_rng(0)
    seen = {which(turn(pair, hflip, rotation, rng)[0], pair["lr"]) for _ in range(100)}
    assert len(seen) == number
    assert 0 in seen


def test_one_switch_does_not_change_the_other_draws():
    both, one = np.random.default_rng(0), np.random.default_rng(0)
    for _ in range(20):
        assert draw_crop((9, 11), 8, 2, both)[:2] == draw_crop((9, 11), 8, 2, one, False, False)[:2]
    assert both.random() == one.random()


@pytest.mark.parametrize("switches", list(itertools.product((False, True), repeat=3)))
def test_patches_are_contiguous_copies_and_the_image_stays(switches, coordinates):
    pair = coordinates(8, 9, 2)
    for array in pair.values():
        array.flags.writeable = False
    for patch in crop_pair(pair["lr"], pair["hr"], CropPlace(2, 4, *switches), 8, 2):
        assert patch.flags.c_contiguous
        assert patch.flags.writeable
        assert patch.base is None or patch.base.nbytes == patch.nbytes
