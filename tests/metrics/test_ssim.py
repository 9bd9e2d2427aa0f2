import math

import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from esrgan_jax.imaging import imresize, rgb_to_y
from esrgan_jax.metrics import ssim


def pair(height=26, width=23, seed=0):
    rng = np.random.default_rng(seed)
    hr = rng.integers(0, 256, (height, width, 3))
    sr = np.clip(hr + rng.integers(-60, 61, hr.shape), 0, 255)
    return sr.astype(np.uint8), hr.astype(np.uint8)


def slow_ssim(a, b):
    """The definition for one channel: loops over every window that lies inside the picture."""
    gauss = [math.exp(-((i - 5) ** 2) / (2 * 1.5**2)) for i in range(11)]
    window = np.outer(gauss, gauss) / sum(gauss) ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
            covariance = (window * (p - mean_p) * (q - mean_q)).sum()
            luminance = (2 * mean_p * mean_q + c1) / (mean_p**2 + mean_q**2 + c1)
            values.append(luminance * (2 * covariance + c2) / (var_p + var_q + c2))
    return float(np.mean(values))


@pytest.mark.parametrize("crop_border", [0, 4])
def test_agrees_with_the_definition(crop_border):
    sr, hr = pair()
    inside = np.s_[crop_border : 26 - crop_border, crop_border : 23 - crop_border]
    a, b = sr[inside].astype(float), hr[inside].astype(float)
    rgb = np.mean([slow_ssim(a[..., c], b[..., c]) for c in range(3)])
    assert ssim(sr, hr, crop_border=crop_border, y_channel=False) == pytest.approx(rgb, abs=1e-12)
    y = slow_ssim(rgb_to_y(sr)[inside], rgb_to_y(hr)[inside])
    assert ssim(sr, hr, crop_border=crop_border, y_channel=True) == pytest.approx(y, abs=1e-12)


@pytest.mark.parametrize("crop_border", [0, 4])
def test_agrees_with_scikit_image_on_a_photo(crop_border):
    hr = data.chelsea()[:296, :448]
    sr = imresize(imresize(hr, 1 / 4), 4)
    inside = np.s_[crop_border : 296 - crop_border, crop_border : 448 - crop_border]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    rgb = structural_similarity(
        sr[inside].astype(float), hr[inside].astype(float), channel_axis=-1, **options
    )
    assert ssim(sr, hr, crop_border=crop_border, y_channel=False) == pytest.approx(rgb, abs=1e-12)
    y = structural_similarity(rgb_to_y(sr)[inside], rgb_to_y(hr)[inside], **options)
    assert ssim(sr, hr, crop_border=crop_border, y_channel=True) == pytest.approx(y, abs=1e-12)


def test_flat_pictures_by_hand():
    # Without variance only the luminance term is left: (2ab + C1) / (a^2 + b^2 + C1).
    sr, hr = np.full((11, 11, 3), 100, np.uint8), np.full((11, 11, 3), 200, np.uint8)
    expected = (2 * 100 * 200 + 6.5025) / (100**2 + 200**2 + 6.5025)
    assert ssim(sr, hr, crop_border=0, y_channel=False) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("y_channel", [False, True])
def test_equal_pictures(y_channel):
    hr = pair()[1]
    assert ssim(hr.copy(), hr, crop_border=0, y_channel=y_channel) == pytest.approx(1, abs=1e-12)


def test_too_small_pictures_are_stated():
    sr, hr = pair(18, 40)
    with pytest.raises(
        ValueError, match=r"`crop_border` \(=4\) leaves 10x32 pixels; SSIM needs at least 11x11"
    ):
        ssim(sr, hr, crop_border=4, y_channel=True)


def test_wrong_pairs_are_stated():
    sr, hr = pair()
    with pytest.raises(ValueError, match="shape"):
        ssim(sr[1:], hr, crop_border=0, y_channel=False)
