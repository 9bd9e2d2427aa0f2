"""Drawings of a run: sample pictures and curves."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from esrgan_jax.evaluation.scores import Result
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.metrics import METRICS
from esrgan_jax.system.files import atomic_write

SHOWN_PIXELS = 480
"""Side of the part of a picture that a sample shows: large ones are cut around their centre."""

_FIRST = next(iter(METRICS.values()))
DRAWN = {key: metric for key, metric in METRICS.items() if metric.name == _FIRST.name}
"""The first of METRICS on all its channels: PSNR on Y and RGB."""


def draw_sample(result: Result) -> np.ndarray:
    """Draw LR enlarged by bicubic | SR | HR, each labelled with what it is and its PSNR; uint8 [h, w, 3]."""
    hr, lr = result.pair["hr"], result.pair["lr"]
    scale = hr.shape[0] // lr.shape[0]
    bicubic = imresize(lr, scale)
    scores = {key: metric.function(bicubic, hr, crop_border=scale) for key, metric in DRAWN.items()}
    texts = [f"LR, bicubic  {_in_words(scores)}", f"SR  {_in_words(result.scores)}", "HR"]
    panels = [
        _labelled(_centre(image), text) for image, text in zip((bicubic, result.sr, hr), texts, strict=True)
    ]
    gap = np.full((panels[0].shape[0], 6, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def _in_words(scores: dict[str, float]) -> str:
    """Return the drawn metrics: "Y 31.95 dB, RGB 30.40 dB"."""
    return ", ".join(f"{metric.channels} {metric.text(scores[key])}" for key, metric in DRAWN.items())


def _centre(image: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        start = max(0, (image.shape[axis] - SHOWN_PIXELS) // 2)
        image = image.take(range(start, min(start + SHOWN_PIXELS, image.shape[axis])), axis)
    return image


def _labelled(image: np.ndarray, text: str) -> np.ndarray:
    height, width = image.shape[:2]
    canvas = Image.new("RGB", (width, height + 26), "white")
    ImageDraw.Draw(canvas).text((4, 3), text, fill="black", font=ImageFont.load_default(16))
    canvas.paste(Image.fromarray(image), (0, 26))
    return np.asarray(canvas)


def draw_curves(lines: list[dict[str, Any]], stages: Sequence[str], path: Path) -> None:
    """Draw one column per stage: DRAWN above, beside bicubic's (dashed), and the losses below."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where it can keep no cache
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The canvas is named, so that no window system and no global state of pyplot's is touched.
    figure = Figure(figsize=(6 * len(stages), 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(stages), squeeze=False)
    for column, stage in enumerate(stages):
        own = [line for line in lines if line["stage"] == stage]
        above, below = axes[:, column]
        above.set(
            title=f"{stage} stage", ylabel=f"validation: {_FIRST.name} [{_FIRST.unit}]", xlabel="iteration"
        )
        for number, (key, metric) in enumerate(DRAWN.items()):
            evaluations = [line for line in own if key in line]
            if evaluations:
                iterations = [line["iteration"] for line in evaluations]
                scores = [line[key] for line in evaluations]
                color, where = f"C{number}", metric.channels
                above.plot(iterations, scores, "o-", color=color, label=f"EMA network, {where}")
                bicubic = evaluations[0][f"bicubic_{key}"]
                above.axhline(bicubic, color=color, ls="--", label=f"bicubic, {where}")
        if above.lines:
            above.legend()
        below.set(ylabel="loss, weighted", xlabel="iteration")
        for name in sorted({name for line in own for name in line if name.startswith("l_")}):
            points = [
                (line["iteration"], line[name]) for line in own if math.isfinite(line.get(name, math.nan))
            ]
            below.plot(*zip(*points, strict=True), label=name)
        if below.lines:
            below.legend()
            positive = all((curve.get_ydata() > 0).all() for curve in below.lines)
            below.set_yscale("log" if positive else "linear")  # Wasserstein losses change their sign
        for axis in (above, below):
            axis.grid(alpha=0.3)
            axis.set_xlim(left=0)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100)
