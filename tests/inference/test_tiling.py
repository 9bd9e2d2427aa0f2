"""Tiles cover a picture, their weights add up to one, and a picture cut up is the same picture again."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esrgan_jax.inference.tiling import count_spans, split_axis, stitch


@st.composite
def axes(draw):
    tile = draw(st.integers(8, 64))
    overlap = draw(st.integers(0, tile // 2))
    length = draw(st.integers(1, 400))
    zoom = draw(st.sampled_from([1, 2, 3, 4, 8]))
    size = length * zoom - draw(st.integers(0, min(3, zoom - 1)))
    return length, tile, overlap, draw(st.sampled_from([0, 0.5, 1])), zoom, size


@settings(max_examples=300, deadline=None)
@given(axes())
def test_weights_add_up_to_one(axis):
    length, tile, overlap, _, zoom, size = axis
    spans = split_axis(*axis)
    assert len(spans) == count_spans(length, tile, overlap)
    total, touched = np.zeros(size, np.float64), np.zeros(size, int)
    for span in spans:
        assert span.start >= 0
        assert span.start + tile <= max(length, tile)
        assert span.start * zoom <= span.low < span.high <= (span.start + tile) * zoom
        weights = np.ones(span.high - span.low)
        weights[: len(span.rise)] *= span.rise
        weights[len(weights) - len(span.fall) :] *= span.fall
        total[span.low : span.high] += weights
        touched[span.low : span.high] += 1
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert touched.max() <= 2
    for left, right in itertools.pairwise(spans):
        assert left.start + tile - right.start >= overlap


@pytest.mark.parametrize("blend", [0, 0.5, 1])
def test_stitch_gives_the_picture_back(blend):
    picture = np.random.default_rng(0).random((203, 151, 2), np.float32)
    rows, columns = split_axis(102, 32, 12, blend, 2, 203), split_axis(76, 32, 12, blend, 2, 151)
    padded = np.pad(picture, ((0, 1), (0, 1), (0, 0)))
    tiles = (
        padded[2 * row.start : 2 * row.start + 64, 2 * column.start : 2 * column.start + 64].copy()
        for row in rows
        for column in columns
    )
    strips = list(stitch(rows, columns, 2, tiles))
    assert len(strips) == len(rows)
    joined = np.concatenate([strip for _, strip in strips])
    np.testing.assert_allclose(joined, picture, rtol=0, atol=1e-6)
    if blend == 0:
        np.testing.assert_array_equal(joined, picture)


def test_a_seam_is_a_smooth_ramp():
    left, right = split_axis(100, 60, 20, 1, 1, 100)
    zeros, ones = np.zeros((60, 60, 1), np.float32), np.ones((60, 60, 1), np.float32)
    ((_, strip),) = stitch(split_axis(60, 60, 0, 0, 1, 60), [left, right], 1, iter([zeros, ones]))
    ramp = strip[0, :, 0]
    assert (ramp[:40] == 0).all()
    assert (ramp[60:] == 1).all()
    steps = np.diff(ramp)
    assert (steps >= 0).all()
    assert steps.max() < 0.1


def test_strips_are_independent():
    """What was handed out is the caller's to change."""
    rows, columns = split_axis(100, 32, 8, 0.5, 1, 100), split_axis(32, 32, 8, 0.5, 1, 32)
    tiles = iter(np.full((len(rows), 32, 32, 1), 1, np.float32))
    strips = stitch(rows, columns, 1, tiles)
    _, first = next(strips)
    kept = first.copy()
    first += 7  # it is the caller's
    for _, strip in strips:
        np.testing.assert_allclose(strip, 1, atol=1e-6)
    np.testing.assert_array_equal(first, kept + 7)
