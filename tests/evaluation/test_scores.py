"""Scores of whole pictures, against numbers computed without this project's code paths."""

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from esrgan_jax.data.sources import open_pairs
from esrgan_jax.errors import DataError, InferenceError
from esrgan_jax.evaluation.scores import evaluate, evaluate_bicubic, mean_scores
from esrgan_jax.imaging import imresize
from esrgan_jax.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def chelsea():
    return open_pairs("sample", split="validation", scale=4)


class OneImage:
    """A source of one pair."""

    def __init__(self, lr, hr):
        self._pair = {"lr": lr, "hr": hr}

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self._pair

    def name(self, index):
        return "one.png"

    def hr_size(self, index):
        return self._pair["hr"].shape[:2]


def test_bicubic_as_documented(chelsea, tmp_path):
    """The recipe of docs/evaluation.md, run as it stands there with numpy and scikit-image alone."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "evaluation.md").read_text(), re.S)
    assert "esrgan" not in code
    script = tmp_path / "by_hand.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    by_hand = {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}
    assert by_hand.keys() == set(METRICS)
    assert evaluate_bicubic(chelsea, 4) == pytest.approx(by_hand, rel=0, abs=1e-9)
    assert by_hand["psnr_y"] == pytest.approx(31.473502, abs=1e-6)  # what the quickstart is measured against


@pytest.mark.parametrize("crop_border", [None, 0, 4, 10])
def test_scores_by_hand(chelsea, crop_border):
    (result,) = evaluate(lambda lr: imresize(lr, 4), chelsea, 4, crop_border=crop_border)
    cut = 4 if crop_border is None else crop_border
    inside = np.s_[cut : result.sr.shape[0] - cut, cut : result.sr.shape[1] - cut]
    sr, hr = result.sr[inside].astype(float), result.pair["hr"][inside].astype(float)
    mse = np.mean(((sr - hr) @ (np.array([65.481, 128.553, 24.966]) / 255)) ** 2)
    assert result.scores["psnr_y"] == pytest.approx(10 * math.log10(255**2 / mse), rel=1e-12)
    rgb = 10 * math.log10(255**2 / np.mean((sr - hr) ** 2))
    assert result.scores["psnr_rgb"] == pytest.approx(rgb, rel=1e-12)


def test_uint8_is_taken_as_it_is_and_floats_are_clamped_and_rounded(chelsea):
    hr = chelsea[0]["hr"]
    (result,) = evaluate(lambda lr: hr, chelsea, 4)
    assert result.sr is hr
    assert result.scores == {"psnr_y": math.inf, "psnr_rgb": math.inf, "ssim_y": 1.0, "ssim_rgb": 1.0}
    (result,) = evaluate(lambda lr: (hr / 255 + 0.001).astype(np.float32), chelsea, 4)
    np.testing.assert_array_equal(result.sr, hr)  # a quarter of a level is rounded away
    (result,) = evaluate(lambda lr: np.full(hr.shape, 7.0), chelsea, 4)
    assert result.sr.min() == 255


def test_mean_over_images():
    one = {"psnr_y": 1.0, "psnr_rgb": 2.0, "ssim_y": 0.0, "ssim_rgb": 1.0}
    assert mean_scores([one, {name: value + 2 for name, value in one.items()}])["psnr_rgb"] == 3.0
    assert mean_scores([one, one | {"psnr_y": math.inf}])["psnr_y"] == math.inf


def test_too_small_to_score_names_the_image():
    tiny = OneImage(np.zeros((2, 2, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"one\.png cannot be scored: .*leaves nothing of 8x8"):
        evaluate_bicubic(tiny, 4)


def test_a_model_of_another_scale_is_stated():
    source = OneImage(np.zeros((8, 8, 3), np.uint8), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"one\.png cannot be scored: `sr` has shape \(16, 16, 3\)"):
        list(evaluate(lambda lr: imresize(lr, 2), source, 4))


def test_a_model_that_fails_names_the_image():
    def upscale(lr):
        raise InferenceError("the result is not finite.")

    source = OneImage(np.zeros((8, 8, 3), np.uint8), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(InferenceError, match=r"one\.png cannot be enlarged: the result is not finite\."):
        list(evaluate(upscale, source, 4))
