"""The grid of sub-images against BasicSR's rule, computed for HR and LR on their own."""

from __future__ import annotations

import numpy as np
import pytest

from esrgan_jax.data.preparation.subimages import SubimageGrid, starts
from esrgan_jax.errors import ConfigError


def basicsr_starts(size: int, crop_size: int, step: int) -> list[int]:
    """The rule of extract_subimages.py for one axis, thresh_size 0."""
    space = np.arange(0, size - crop_size + 1, step)
    if size - (space[-1] + crop_size) > 0:
        space = np.append(space, size - crop_size)
    return space.tolist()


@pytest.mark.parametrize("size", [120, 121, 180, 181, 239, 240, 299, 339, 510])
def test_starts_are_those_of_basicsr_for_lr_and_hr_alike(size):
    found = starts(size, 120, 60)
    assert found == basicsr_starts(size, 120, 60)
    assert [4 * start for start in found] == basicsr_starts(4 * size, 480, 240)
    assert found[-1] + 120 == size


def test_a_2k_picture_has_forty(coordinates):
    pair = {"lr": np.zeros((339, 510, 3), np.uint8), "hr": np.zeros((1356, 2040, 3), np.uint8)}
    pieces = list(SubimageGrid().cut_pair(pair, 4))
    assert len(pieces) == 40
    assert {piece["hr"].shape for piece in pieces} == {(480, 480, 3)}
    assert {piece["lr"].shape for piece in pieces} == {(120, 120, 3)}


def test_pieces_lie_at_the_same_place_in_both(coordinates):
    pair = coordinates(25, 37, scale=4)
    pieces = list(SubimageGrid(crop_size=32, step=16).cut_pair(pair, 4))
    corners = [tuple(int(value) for value in piece["lr"][0, 0, :2]) for piece in pieces]
    assert corners == [(y, x) for y in (0, 4, 8, 12, 16, 17) for x in (0, 4, 8, 12, 16, 20, 24, 28, 29)]
    for piece in pieces:
        assert piece["lr"].shape == (8, 8, 3)
        np.testing.assert_array_equal(piece["hr"], piece["lr"].repeat(4, axis=0).repeat(4, axis=1))


def test_a_picture_smaller_than_a_sub_image_stays_as_it_is_on_that_side(coordinates):
    pieces = list(SubimageGrid(crop_size=32, step=16).cut_pair(coordinates(5, 12, scale=4), 4))
    assert [piece["hr"].shape for piece in pieces] == [(20, 32, 3)] * 2
    assert [int(piece["lr"][0, 0, 1]) for piece in pieces] == [0, 4]


@pytest.mark.parametrize(
    ("grid", "scale", "message"),
    [
        (SubimageGrid(480, 242), 4, r"--step \(=242\) must be a multiple of the scale \(=4\)"),
        (SubimageGrid(481, 240), 2, r"--crop-size \(=481\)"),
        (SubimageGrid(0, 240), 4, r"--crop-size \(=0\)"),
        (SubimageGrid(96, 0), 4, r"--step \(=0\)"),
        (SubimageGrid(96, 100), 4, r"--step \(=100\) must not exceed --crop-size \(=96\)"),
    ],
)
def test_grids_that_do_not_fit(grid, scale, message):
    with pytest.raises(ConfigError, match=message):
        grid.check(scale)
    SubimageGrid().check(scale)
