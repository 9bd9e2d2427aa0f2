"""Cropping, shrinking and keeping pairs."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from esrgan_jax.data.pairs import PairMemory, bicubic_lr, crop_to_multiple, size_text, sizes_fit
from esrgan_jax.imaging.resize import imresize


def test_crop_to_multiple_keeps_the_top_left():
    image = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    cropped = crop_to_multiple(image, 4)
    np.testing.assert_array_equal(cropped, image[:4, :8])
    assert cropped.flags.c_contiguous
    np.testing.assert_array_equal(crop_to_multiple(image, 1), image)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrink_is_the_bicubic_of_the_papers(scale):
    hr = np.random.default_rng(0).integers(0, 256, (12 * scale, 13 * scale, 3), dtype=np.uint8)
    lr = bicubic_lr(hr, scale)
    assert lr.shape == (12, 13, 3)
    assert lr.dtype == np.uint8
    np.testing.assert_array_equal(lr, imresize(hr, 1 / scale))


def test_shrink_by_one_is_the_image_itself():
    hr = np.zeros((4, 4, 3), np.uint8)
    assert bicubic_lr(hr, 1) is hr


def test_sizes_fit_rounded_down_or_up():
    assert sizes_fit((24, 32), (6, 8), 4)
    assert all(sizes_fit((25, 35), size, 4) for size in [(6, 8), (7, 8), (6, 9), (7, 9)])
    assert not any(sizes_fit((24, 32), size, 4) for size in [(7, 8), (6, 9), (5, 8), (8, 6), (12, 16)])


def test_in_pixels_says_width_first():
    assert size_text((20, 30, 3)) == "30x20 pixels"


def pair_of(value: int) -> dict[str, np.ndarray]:
    return {"lr": np.full((2, 2, 3), value, np.uint8), "hr": np.full((4, 4, 3), value, np.uint8)}


def test_memory_keeps_what_fits_and_throws_nothing_out():
    memory = PairMemory(budget_bytes=2 * 60)
    for index in range(3):
        memory.put(index, pair_of(index))
    assert memory.get(0)["hr"][0, 0, 0] == 0
    assert memory.get(1)["lr"][0, 0, 0] == 1
    assert memory.get(2) is None
    with pytest.raises(ValueError, match="read-only"):
        memory.get(0)["hr"][0] = 1


def test_memory_counts_a_pair_once_though_many_threads_bring_it():
    memory = PairMemory(budget_bytes=2 * 60)
    threads = [threading.Thread(target=memory.put, args=(0, pair_of(0))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.put(1, pair_of(1))
    assert memory.get(1) is not None
