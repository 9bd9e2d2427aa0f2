"""What a run leaves for people: metrics.jsonl, TensorBoard, sample pictures, curves. Process 0 only."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from esrgan_jax.evaluation.scores import Result
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.imaging.rgb_files import write_png
from esrgan_jax.metrics import psnr
from esrgan_jax.system.files import append, atomic_write
from esrgan_jax.training.tensorboard import EventFile

SHOWN_PIXELS = 480
"""Side of the part of a picture that a sample shows: large ones are cut around their centre."""


class Writer:
    """Writes into a run folder; what it wrote after the point of a resume is taken back first.

    `metrics.jsonl` holds a line for each log interval and each evaluation, {"stage", "iteration", ...}, and
    nothing that depends on the machine's speed: a resumed run writes the file of an uninterrupted one.

    A full disk, or one that is gone, stops nothing: lines of `metrics.jsonl` wait until there is room, pictures
    and TensorBoard's points are left out, and `problem` says so until it works again.
    """

    def __init__(self, run_folder: Path, stages: Sequence[str]):
        self._folder = run_folder
        self._stages = list(stages)
        self._path = run_folder / "metrics.jsonl"
        self._pending_lines: list[str] = []
        self._boards: dict[str, EventFile] = {}
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """What cannot be written at present, and why; None if everything can."""
        return "; ".join(f"{what} cannot be written ({why})" for what, why in self._problems.items()) or None

    def resume(self, stage: str, iteration: int, evaluated: bool = True) -> None:
        """Drops every line from after `iteration` of `stage`, because it will be written again.

        So will the scores of `iteration` itself, if it is still to be `evaluated`.
        """
        order = self._stages.index(stage)
        kept = "".join(
            json.dumps(line) + "\n"
            for line in read_metrics(self._path)
            if (place := (self._stages.index(line["stage"]), line["iteration"])) < (order, iteration)
            or (place == (order, iteration) and (evaluated or "psnr_y" not in line))
        )
        if not self._path.exists() or self._path.read_text(encoding="utf-8") != kept:
            with atomic_write(self._path) as temporary:
                temporary.write_text(kept, encoding="utf-8")
        self._boards[stage] = EventFile(
            self._folder / "tensorboard" / stage, purge_from=iteration + 1 if iteration else None
        )

    def scalars(self, stage: str, iteration: int, values: dict[str, float]) -> None:
        """One line of metrics.jsonl, and the same to TensorBoard."""
        self._pending_lines.append(json.dumps({"stage": stage, "iteration": iteration, **values}) + "\n")
        with self._recording_problems(self._path.name):
            append(self._path, "".join(self._pending_lines).encode())
            self._pending_lines.clear()
        with self._recording_problems("tensorboard"):
            self._boards[stage].scalars(values, iteration)

    def sample(self, stage: str, iteration: int, result: Result) -> Path:
        """Draws LR enlarged | SR | HR of one image into samples/; returns the file."""
        path = self._folder / "samples" / f"{stage}_{iteration:07d}.png"
        picture = draw_sample(result)
        with self._recording_problems("samples"):
            write_png(path, picture)
        with self._recording_problems("tensorboard"):
            self._boards[stage].picture("sample", picture, iteration)
        return path

    def curves(self) -> Path:
        """Draws the curves of metrics.jsonl into curves.png; returns the file."""
        path = self._folder / "curves.png"
        lines = read_metrics(self._path)
        ran = {line["stage"] for line in lines}
        with self._recording_problems(path.name):
            draw_curves(lines, [stage for stage in self._stages if stage in ran] or self._stages, path)
        return path

    @contextlib.contextmanager
    def _recording_problems(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._problems[what] = error.strerror or str(error)
        else:
            self._problems.pop(what, None)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; one cut short by a crash, necessarily the last, is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def draw_sample(result: Result) -> np.ndarray:
    """LR enlarged by bicubic | SR | HR, each labelled with what it is and its PSNR on Y; uint8 [h, w, 3]."""
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
    """One column a stage: PSNR on the validation set above, losses below; bicubic is the dashed line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The canvas is named, so that no window system and no global state of pyplot's is touched.
    figure = Figure(figsize=(6 * len(stages), 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(stages), squeeze=False)
    for column, stage in enumerate(stages):
        own = [line for line in lines if line["stage"] == stage]
        evaluations = [line for line in own if "psnr_y" in line]
        above, below = axes[:, column]
        above.set(title=f"{stage} stage", ylabel="PSNR on Y, validation [dB]", xlabel="iteration")
        if evaluations:
            iterations = [line["iteration"] for line in evaluations]
            above.plot(iterations, [line["psnr_y"] for line in evaluations], "o-", label="EMA network")
            above.axhline(evaluations[0]["bicubic_psnr_y"], color="grey", ls="--", label="bicubic")
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
