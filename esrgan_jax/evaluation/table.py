"""The result of an evaluation as the lines of a table, or as a JSON object."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from esrgan_jax.evaluation.scores import mean_scores, protocol
from esrgan_jax.metrics import METRICS, Metric
from esrgan_jax.system.surroundings import printable

Scores = dict[str, float]

_LONGEST_NAME = 40


class Row(NamedTuple):
    """One image: its name in the table, and its scores."""

    name: str
    model: Scores
    bicubic: Scores


@dataclass
class ResultTable:
    """The scores of a set of images, and what was measured.

    Attributes:
      model: the weights, in words; "bicubic" if nothing else is evaluated.
      images: the images, in words.
      lr: the origin of LR, in words.
      scale: the factor of enlargement.
      crop_border: pixels cut from each side before scoring.
      names: of the images.
      published: PSNR in dB and SSIM on Y of bicubic on these images in ESRGAN's paper, if known.
      rows: the scores of the images so far.
      others: about pictures beside them whose formats are not read, one line, or "".
      left_out: name and reason of the images that cannot be scored.
    """

    model: str
    images: str
    lr: str
    scale: int
    crop_border: int
    names: list[str]
    published: tuple[float, float] | None = None
    rows: list[Row] = field(default_factory=list)
    others: str = ""
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """The columns under each score."""
        return ("bicubic",) if self.model == "bicubic" else ("bicubic", "model")

    def mean(self) -> Row:
        """Return the row of means."""
        return Row(
            "mean",
            mean_scores([row.model for row in self.rows]),
            mean_scores([row.bicubic for row in self.rows]),
        )

    def head(self) -> list[tuple[str, str]]:
        """Return what was measured: (topic, words)."""
        head = [
            ("model", self.model),
            ("images", self.images),
            ("LR", self.lr),
            ("scale", str(self.scale)),
            ("protocol", protocol(self.crop_border)),
        ]
        return head + [("left out", text) for text in (self.others, *self.left_out.values()) if text]

    def remark(self) -> str:
        """Return how many images the mean leaves out, or else what ESRGAN's paper has for bicubic on them, or ""."""
        if self.left_out:
            scored, missing = len(self.rows), len(self.left_out)
            verb = "are" if missing > 1 else "is"
            return f"The mean is that of {scored} image{'s' * (scored > 1)}; {missing} {verb} left out."
        if self.published is None:
            return ""
        psnr, ssim = self.published
        return f"Bicubic on Y in ESRGAN's paper: {psnr:.2f} dB, {ssim:.4f}."

    def table_head(self) -> list[str]:
        """Return the two lines above the rows."""
        width = self._name_width()
        columns = [(metric.heading, self._width(metric)) for metric in METRICS.values()]
        titles = (heading.rjust((own + 2) * len(self.methods)) for heading, own in columns)
        methods = (method.rjust(own + 2) for _, own in columns for method in self.methods)
        return [" " * width + "".join(titles), "image".ljust(width) + "".join(methods)]

    def table_row(self, row: Row) -> str:
        """Return one line; a long name loses its beginning."""
        width = self._name_width()
        shown = printable(row.name)
        name = shown if len(shown) <= width else "..." + shown[3 - width :]
        cells = (
            metric.number(getattr(row, method)[key]).rjust(self._width(metric) + 2)
            for key, metric in METRICS.items()
            for method in self.methods
        )
        return name.ljust(width) + "".join(cells)

    def _name_width(self) -> int:
        return min(max(map(len, [*self.names, "image"])), _LONGEST_NAME)

    def _width(self, metric: Metric) -> int:
        # Two columns share the heading of their metric.
        return max(len("bicubic"), -(-len(metric.heading) // len(self.methods)))

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object; null is the infinite PSNR of equal pictures."""
        head: dict[str, Any] = {
            "protocol": protocol(self.crop_border),
            "scale": self.scale,
            "crop_border": self.crop_border,
            "model": self.model,
            "source": self.images,
            "lr": self.lr,
        }
        images = [
            {"name": row.name, "model": _finite(row.model), "bicubic": _finite(row.bicubic)}
            for row in self.rows
        ]
        mean = self.mean()
        return head | {
            "other_formats": self.others,
            "left_out": self.left_out,
            "images": images,
            "mean": {"model": _finite(mean.model), "bicubic": _finite(mean.bicubic)},
        }


def _finite(scores: Scores) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
