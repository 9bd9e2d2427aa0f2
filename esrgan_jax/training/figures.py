"""Drawings of a run: sample pictures and curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from esrgan_jax.evaluation.scores import Result
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.metrics import METRICS, psnr
from esrgan_jax.system.files import atomic_write

SHOWN_PIXELS = 480
"""Side of the part of a picture that a sample shows: large ones are cut around their centre."""


def draw_sample(result: Result) -> np.ndarray:
    """Draw LR enlarged by bicubic | SR | HR, each labelled with what it is and its PSNR on Y; uint8 [h, w, 3]."""
    hr, lr = result.pair["hr"], result.pair["lr"]
    scale = hr.shape[0] // lr.shape[0]
    bicubic = imresize(lr, scale)
    scores = {
        "LR, bicubic": psnr(bicubic, hr, crop_border=scale, y_channel=True),
        "SR": result.scores["psnr_y"],
        "HR": None,
    }
    panels = []
    for image, (label, score) in zip((bicubic, result.sr, hr), scores.items(), strict=True):
        text = label if score is None else f"{label}  {score:.2f} dB"
        panels.append(_labelled(_centre(image), text))
    gap = np.full((panels[0].shape[0], 6, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


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
    """Draw one column per stage: the first of METRICS above, beside bicubic's (dashed), and the losses below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The canvas is named, so that no window system and no global state of pyplot's is touched.
    figure = Figure(figsize=(6 * len(stages), 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(stages), squeeze=False)
    key, metric = next(iter(METRICS.items()))
    for column, stage in enumerate(stages):
        own = [line for line in lines if line["stage"] == stage]
        evaluations = [line for line in own if key in line]
        above, below = axes[:, column]
        above.set(title=f"{stage} stage", ylabel=f"validation: {metric.heading}", xlabel="iteration")
        if evaluations:
            iterations = [line["iteration"] for line in evaluations]
            above.plot(iterations, [line[key] for line in evaluations], "o-", label="EMA network")
            above.axhline(evaluations[0][f"bicubic_{key}"], color="grey", ls="--", label="bicubic")
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
