"""The ground rules of CONTRIBUTING.md, each tried: what is added with one entry arrives wherever it should."""

import json

import numpy as np
import pytest

from configs import quickstart
from esrgan_jax.cli.main import main
from esrgan_jax.metrics import METRICS, Metric
from esrgan_jax.training import configuration
from esrgan_jax.training.validation import compared_scores
from esrgan_jax.training.writer import Writer, read_metrics


def mean_error(sr, hr, *, crop_border):
    inside = np.s_[crop_border:-crop_border, crop_border:-crop_border]
    return float(np.abs(sr[inside].astype(int) - hr[inside]).mean())


def test_a_metric_is_one_entry(tmp_path, monkeypatch, capsys):
    """Scores, JSON, table, page, log, metrics.jsonl of a resumed run, and keep_best."""
    config = quickstart.get_config()
    config.keep_best = "mae"
    with pytest.raises(configuration.ConfigError, match="keep_best"):
        configuration.check(config, 1)
    entry = Metric(
        "MAE", mean_error, "MAE is the mean error.", digits=3, unit="levels", larger_is_better=False
    )
    monkeypatch.setitem(METRICS, "mae", entry)
    configuration.check(config, 1)

    page = tmp_path / "page.html"
    arguments = ["evaluate", "--model", "bicubic", "--hr", "sample"]
    assert main([*arguments, "--html", str(page)]) == 0
    table = capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    score = found["images"][0]["model"]["mae"]
    assert 1 < score < 10
    assert found["mean"]["bicubic"]["mae"] == score
    assert "MAE is the mean error. The mean over images" in found["protocol"]
    assert "SSIM RGB  MAE [levels]\n" in table
    assert table.endswith(f" {score:.3f}\n")
    html = page.read_text()
    assert f"SSIM Y 0.8063, MAE {score:.3f} levels</figcaption>" in html
    assert f">{score:.3f}</td></tr>" in html

    scores = found["mean"]["model"]
    log = compared_scores(scores, scores)
    assert log.endswith(f"MAE {score:.3f} levels (bicubic {score:.3f}, +0.000)")
    writer = Writer(tmp_path, ("psnr",))
    writer.resume("psnr", 0)
    writer.scalars("psnr", 2, {"l_g_pix": 0.5})
    writer.scalars("psnr", 2, {"mae": score})
    writer.resume("psnr", 2, evaluated=False)
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"stage": "psnr", "iteration": 2, "l_g_pix": 0.5}]
