"""The steps of Real-ESRGAN's degradation a second time, in numpy and scipy, on pictures of any size, float64."""

import numpy as np
from scipy import fft, ndimage

from esrgan_jax.degradation.jpeg import CHROMA, LUMA


def correlate(x, kernel):
    return np.stack([ndimage.correlate(x[..., c], kernel, mode="mirror") for c in range(3)], axis=-1)


def sharpened(x, weight=0.5, threshold=10):
    offset = np.arange(51) - 25
    row = np.exp(-(offset**2) / 128)
    kernel = np.outer(row, row) / row.sum() ** 2
    residual = x - correlate(x, kernel)
    soft = correlate((np.abs(residual) * 255 > threshold).astype(float), kernel)
    return soft * np.clip(x + weight * residual, 0, 1) + (1 - soft) * x


def resized(x, mode, size, factor=None):
    for axis, n_out in enumerate(size):
        n_in = x.shape[axis]
        ratio = n_in / n_out if factor is None else 1 / factor
        lines = [_line(x.swapaxes(0, axis), mode, i, n_in, n_out, ratio) for i in range(n_out)]
        x = np.stack(lines).swapaxes(0, axis)
    return x


def _line(x, mode, i, n_in, n_out, ratio):
    if mode == "area":
        return x[i * n_in // n_out : -(-(i + 1) * n_in // n_out)].mean(0)
    place = ratio * (i + 0.5) - 0.5
    if mode == "bilinear":
        place = max(place, 0)
    left = int(np.floor(place))
    taps = (0, 1) if mode == "bilinear" else (-1, 0, 1, 2)
    return sum(_weight(mode, abs(place - left - tap)) * x[np.clip(left + tap, 0, n_in - 1)] for tap in taps)


def _weight(mode, d):
    if mode == "bilinear":
        return 1 - d
    if d <= 1:
        return 1.25 * d**3 - 2.25 * d**2 + 1
    return -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)


def compressed(x, quality):
    height, width = x.shape[:2]
    padded = np.zeros((-(-height // 16) * 16, -(-width // 16) * 16, 3))
    padded[:height, :width] = 255 * x
    r, g, b = padded.transpose(2, 0, 1)
    planes = [
        0.299 * r + 0.587 * g + 0.114 * b,
        -0.168736 * r - 0.331264 * g + 0.5 * b + 128,
        0.5 * r - 0.418688 * g - 0.081312 * b + 128,
    ]
    factor = 50 / quality if quality < 50 else 2 - quality / 50
    y = _quantised(planes[0], factor * LUMA)
    small = [p.reshape(p.shape[0] // 2, 2, -1, 2).mean((1, 3)) for p in planes[1:]]
    cb, cr = (np.kron(_quantised(p, factor * CHROMA), np.ones((2, 2))) - 128 for p in small)
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    return np.clip(rgb, 0, 255)[:height, :width] / 255


def _quantised(plane, table):
    blocks = plane.reshape(plane.shape[0] // 8, 8, -1, 8).swapaxes(1, 2)
    c = fft.dctn(blocks - 128, axes=(2, 3), norm="ortho")
    c = np.round(c / table) * table
    return (fft.idctn(c, axes=(2, 3), norm="ortho") + 128).swapaxes(1, 2).reshape(plane.shape)
