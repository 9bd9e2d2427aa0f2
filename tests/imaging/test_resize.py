import math
from fractions import Fraction

import numpy as np
import pytest

from esrgan_jax.imaging import imresize

SCALES = [1 / 2, 1 / 3, 1 / 4, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0]


HALF = Fraction(1, 2)


def cubic(x):
    x = abs(x)
    if x <= 1:
        return 3 * HALF * x**3 - 5 * HALF * x**2 + 1
    if x <= 2:
        return -HALF * x**3 + 5 * HALF * x**2 - 4 * x + 2
    return 0


def weights_of_output(j, size, scale):
    """{input: weight} of output j (both from 0) by MATLAB's rule; exact where `scale` is a Fraction."""
    stretch = min(scale, 1)
    centre = (j + HALF) / scale - HALF
    reach = 2 / stretch
    raw = {
        i: cubic((centre - i) * stretch)
        for i in range(math.floor(centre - reach), math.ceil(centre + reach) + 1)
    }
    result = {}
    for i, weight in raw.items():
        mirrored = i % (2 * size)
        if mirrored >= size:
            mirrored = 2 * size - 1 - mirrored
        result[mirrored] = result.get(mirrored, 0) + weight / sum(raw.values())
    return result


def slow_imresize(image, scale):
    """Loops over every output of one channel: rows, then columns; keeps the number type of `scale`."""
    height, width = len(image), len(image[0])
    columns = [weights_of_output(x, width, scale) for x in range(math.ceil(width * scale))]
    result = []
    for y in range(math.ceil(height * scale)):
        weights = weights_of_output(y, height, scale)
        row = [sum(w * image[i][x] for i, w in weights.items()) for x in range(width)]
        result.append([sum(w * row[i] for i, w in taps.items()) for taps in columns])
    return result


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", [(13, 17), (12, 8)])
def test_agrees_with_loops(scale, shape):
    image = np.random.default_rng(0).normal(size=shape)
    expected = np.array(slow_imresize(image.tolist(), scale), dtype=float)
    actual = imresize(image, scale)
    assert actual.shape == (math.ceil(shape[0] * scale), math.ceil(shape[1] * scale))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1 / 2, 1 / 4, 3.0])
def test_pictures_smaller_than_the_kernel_are_mirrored_more_than_once(scale):
    image = np.random.default_rng(1).normal(size=(1, 3))
    np.testing.assert_allclose(
        imresize(image, scale), np.array(slow_imresize(image.tolist(), scale), float), rtol=0, atol=1e-12
    )


def rounded(rows):
    return [[min(max(math.floor(v + HALF), 0), 255) for v in row] for row in rows]


def transposed(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def slow_uint8_imresize(image, scale):
    """Exact: each column of pixels is resized and rounded, then each row."""
    height, width = len(image), len(image[0])
    taps = [weights_of_output(y, height, scale) for y in range(math.ceil(height * scale))]
    rows = rounded([[sum(w * image[i][x] for i, w in t.items()) for x in range(width)] for t in taps])
    taps = [weights_of_output(x, width, scale) for x in range(math.ceil(width * scale))]
    return rounded([[sum(w * row[i] for i, w in t.items()) for t in taps] for row in rows])


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), 2, 3, 4], ids=str)
def test_uint8_rounds_the_exact_result_half_up_after_each_axis(scale):
    """At these scales a result that ends in .5 is exact in float64, or there is none."""
    # Extreme values, so that clipping on both sides is exercised as well.
    image = np.random.default_rng(2).choice(np.array([0, 1, 128, 255], np.uint8), size=(15, 14))
    expected = slow_uint8_imresize(image.tolist(), Fraction(scale))
    assert imresize(image, float(scale)).tolist() == expected
    columns_first = transposed(slow_uint8_imresize(transposed(image.tolist()), Fraction(scale)))
    assert expected != columns_first  # the order of the axes is seen here


# Input and results of MATLAB's imresize(..., "bicubic") on uint8 as the tests of Octave's image package publish
# them (imresize.m, "reference results from matlab"). All four results, 366 values, agree; these are two of them.
MATLAB_INPUT = """
116 227 153  69 146 194  59 130 139 106
  2  47 137 249  90  75  16  24 158  44
155  68  46  84 166 156  69 204  32 152
 71 221 137 230 210 153 192 115  30 118
107 143 108  52  51  73 101  21 175  90
 54 158 143  77  26 168 113 229 165 225
  9  47 133 135 130 207 236  43  19  73
129  60  59 243  64 181 249  56  32  86
"""
MATLAB_RESULTS = {
    1 / 2: """
105 140 126  81 109
110 134 153 114  93
108 108  94 127 146
 67 126 162 149  62
""",
    3 / 2: """
116 187 237 171  94  61 135 191 187  75  91 142 140 124 108
 43  92 143 149 164 163 119 123 118  44  38  80 151 118  62
 13  21  47 107 195 228 115  81  70  24  19  56 137 105  48
146  98  49  49  71 107 148 159 132  58 124 176  61  85 146
118 139 144  92 116 168 201 188 159 140 167 158  27  69 153
 61 151 218 145 174 219 201 164 146 187 148  84  48  76 115
102 132 151 119  90  72  72  72  83 114  60  31 144 130  80
 81 121 154 133  87  41  19  67 116  95 108 140 183 180 163
 37  95 152 150 117  73  35 108 179 130 174 214 153 176 219
  3  29  73 131 136 120 116 162 214 229 147  54  35  62  96
 67  54  51  83 153 187 111 141 210 255 149  22  13  42  74
142  99  53  43 164 237  77 103 197 254 159  42  31  59  91
""",
}


def table(text):
    return np.array([line.split() for line in text.strip().splitlines()], np.uint8)


@pytest.mark.parametrize("scale", MATLAB_RESULTS)
def test_uint8_values_published_from_matlab(scale):
    """Some of them end in .5 before rounding, in exact arithmetic, and MATLAB rounds a few of those down."""
    image, expected = table(MATLAB_INPUT), table(MATLAB_RESULTS[scale])
    np.testing.assert_array_equal(imresize(image, scale), expected)
    # Rounded once, at the end, a quarter of the values would be others.
    once = np.clip(np.floor(imresize(image.astype(np.float64), scale) + 0.5), 0, 255)
    assert 0.2 < np.mean(once != expected) < 0.3
    assert np.abs(once - expected).max() == 1


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-11)])
def test_floats_are_not_rounded_between_the_axes(dtype, tolerance):
    image = table(MATLAB_INPUT).astype(dtype)
    expected = np.array(slow_imresize(image.tolist(), 1.5))
    result = imresize(image, 1.5)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


def test_numbers_computed_by_hand():
    # MATLAB prints 10.2778 8.0000 5.7222 for imresize([10 6; 10 6], 1.5). By hand: the first output lies 1/6
    # before the first pixel, the far neighbour weighs k(7/6) = -5/72, and 10 + 4 * 5/72 = 10.2777...
    image = np.array([[10.0, 6.0], [10.0, 6.0]])
    expected = [[10 + 20 / 72, 8, 6 - 20 / 72]] * 3
    np.testing.assert_allclose(imresize(image, 1.5), expected, rtol=0, atol=1e-14)


def test_halving_an_impulse_gives_the_stretched_kernel():
    # Kernel at (1/4, 3/4, 5/4, 7/4) halved: 111/256, 29/256, -9/256, -3/256.
    image = np.zeros((1, 16))
    image[0, 8] = 256
    assert imresize(np.repeat(image, 2, axis=0), 0.5).tolist() == [[0, 0, -3, 29, 111, -9, 0, 0]]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_constant_pictures_stay_constant(scale, dtype):
    image = np.full((11, 9, 3), 37, dtype)
    result = imresize(image, scale)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, 37, rtol=1e-7)


def test_channels_are_independent_and_types_are_kept():
    image = np.random.default_rng(4).random((10, 12, 3)).astype(np.float32)
    result = imresize(image, 0.5)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    for channel in range(3):
        np.testing.assert_array_equal(result[..., channel], imresize(image[..., channel], 0.5))


def test_non_contiguous_pictures():
    image = np.random.default_rng(5).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    view = image[::2, 3:19, ::-1]
    np.testing.assert_array_equal(imresize(view, 0.25), imresize(view.copy(), 0.25))


def test_floats_overshoot_and_uint8_clips():
    step = np.zeros((8, 8))
    step[:, 4:] = 1
    result = imresize(step, 2)
    assert result.min() < 0
    assert result.max() > 1
    assert set(imresize((step * 255).astype(np.uint8), 2)[0, [0, -1]]) == {0, 255}


@pytest.mark.parametrize("scale", [0, -2, math.nan, math.inf])
def test_bad_scales_are_stated(scale):
    with pytest.raises(ValueError, match=rf"`scale` \(={scale}\)"):
        imresize(np.zeros((4, 4)), scale)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(4), "shape"),
        (np.zeros((1, 4, 4, 3)), "shape"),
        (np.zeros((0, 4, 3)), "empty"),
        (np.zeros((4, 4), np.int32), "int32"),
    ],
)
def test_bad_pictures_are_stated(image, message):
    with pytest.raises(ValueError, match=message):
        imresize(image, 0.5)
