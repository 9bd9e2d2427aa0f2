"""The result of an evaluation as one web page: the table, and the part of each image that bicubic gets most wrong."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import cv2
import numpy as np

from esrgan_jax.evaluation.scores import Result
from esrgan_jax.evaluation.table import ResultTable, Row
from esrgan_jax.imaging.color import rgb_to_y
from esrgan_jax.metrics import METRICS
from esrgan_jax.system.files import atomic_write

DETAIL = 192
"""Side of the part of a picture that is shown, in HR pixels."""

OVERVIEW = 384
"""Longer side of the whole picture as it is shown, in pixels."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 1500px;
       margin: 2em auto; padding: 0 1.5em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.1em; margin: 2em 0 .5em; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: 6em 1fr; gap: .25em 1em; max-width: 70em; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1.5em 0; }
th, td { padding: .25em .9em; text-align: right; } th:first-child, td:first-child { text-align: left; }
thead { border-bottom: 1px solid #888; } tfoot { border-top: 1px solid #888; font-weight: 600; }
.bicubic { color: #777; } .pictures { display: flex; flex-wrap: wrap; gap: .75em; align-items: flex-start; }
figure { margin: 0; flex: 1 1 300px; max-width: 384px; } figure.whole { flex: 0 1 260px; }
figure img { width: 100%; display: block; image-rendering: pixelated; }
figure.whole img { image-rendering: auto; } figcaption { margin-top: .25em; }
.scores { overflow-x: auto; } td:first-child { position: sticky; left: 0; background: #fff; }
@media (max-width: 600px) {
  body { margin: 1em auto; padding: 0 .8em; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6em; }
  th, td { padding: .25em .45em; } td:first-child { min-width: 7em; max-width: 9em; overflow-wrap: anywhere; }
  figure, figure.whole { flex-basis: 100%; max-width: none; }
}
"""


class ResultPage:
    """Pictures collected while an evaluation runs, written as one file that needs no other.

    Only the details are kept, as lossless WebP: some 0.2 MB per image.
    """

    def __init__(self) -> None:
        self._sections: list[str] = []

    def add(self, row: Row, result: Result, bicubic: np.ndarray, methods: tuple[str, ...]) -> None:
        """Add the pictures of one image.

        Args:
          row: its name and scores.
          result: the pair and the model's picture.
          bicubic: the enlargement by bicubic, uint8 [H, W, 3].
          methods: pictures shown beside HR, of "bicubic" and "model".
        """
        hr = result.pair["hr"]
        detail = most_different(bicubic, hr, DETAIL)
        pictures = {"bicubic": bicubic, "model": result.sr}
        figures = [_figure(_whole(hr, detail), "image/jpeg", "the whole image, and what is shown", "whole")]
        for method in methods:
            scores = getattr(row, method)
            texts = [f"{m.title} {m.text(scores[key])}" for key, m in METRICS.items() if m.headline]
            caption = f"{method}: {', '.join(texts)}"
            figures.append(_figure(_lossless(pictures[method][detail]), "image/webp", caption))
        figures.append(_figure(_lossless(hr[detail]), "image/webp", "HR, the original"))
        title = f"{html.escape(row.name)} <small>({hr.shape[1]}x{hr.shape[0]})</small>"
        self._sections.append(f'<h2>{title}</h2>\n<div class="pictures">{"".join(figures)}</div>')

    def write(self, path: Path, report: ResultTable) -> None:
        """Write the page; the whole file appears at `path`, or nothing does."""
        topics = "".join(f"<dt>{topic}</dt><dd>{html.escape(text)}</dd>" for topic, text in report.head())
        span = len(report.methods)
        titles = "".join(
            f'<th colspan="{span}">{html.escape(metric.heading)}</th>' for metric in METRICS.values()
        )
        methods = "".join(f'<th class="{method}">{method}</th>' for method in report.methods) * len(METRICS)
        rows = "\n".join(_table_row(row, report.methods) for row in report.rows)
        page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Evaluation of {html.escape(report.model)}</title><style>{_STYLE}</style></head><body>
<h1>Evaluation</h1>
<dl>{topics}</dl>
<div class="scores"><table><thead><tr><th></th>{titles}</tr><tr><th>image</th>{methods}</tr></thead>
<tbody>
{rows}
</tbody><tfoot>{_table_row(report.mean(), report.methods)}</tfoot></table></div>
<p>{html.escape(report.remark())}</p>
<p>Below are, of each image, the {DETAIL}x{DETAIL} pixels that bicubic gets most wrong, with the scores of the whole
image. Any model shows the same part; the pixels are enlarged without smoothing.</p>
{chr(10).join(self._sections)}
</body></html>
"""
        with atomic_write(path) as temporary:
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")  # names that are no UTF-8


def most_different(a: np.ndarray, b: np.ndarray, side: int) -> tuple[slice, slice]:
    """Return the square (or less, where the picture is smaller) in which two pictures differ most on Y."""
    height, width = min(side, b.shape[0]), min(side, b.shape[1])
    # Summed area table: the sum over every rectangle from four values.
    total = np.pad(np.cumsum(np.cumsum((rgb_to_y(a) - rgb_to_y(b)) ** 2, axis=0), axis=1), ((1, 0), (1, 0)))
    sums = (
        total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    )
    top, left = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def _table_row(row: Row, methods: tuple[str, ...]) -> str:
    cells = "".join(
        f'<td class="{method}">{metric.number(getattr(row, method)[key])}</td>'
        for key, metric in METRICS.items()
        for method in methods
    )
    return f"<tr><td>{html.escape(row.name)}</td>{cells}</tr>"


def _whole(hr: np.ndarray, detail: tuple[slice, slice]) -> bytes:
    scale = min(1.0, OVERVIEW / max(hr.shape[:2]))
    size = (max(1, round(hr.shape[1] * scale)), max(1, round(hr.shape[0] * scale)))
    small = cv2.resize(hr, size, interpolation=cv2.INTER_AREA)
    (top, bottom), (left, right) = ((round(s.start * scale), round(s.stop * scale) - 1) for s in detail)
    for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.rectangle(small, (left, top), (right, bottom), color, thickness)
    return _encode(".jpg", small, cv2.IMWRITE_JPEG_QUALITY, 85)


def _lossless(image: np.ndarray) -> bytes:
    return _encode(".webp", np.ascontiguousarray(image), cv2.IMWRITE_WEBP_QUALITY, 101)  # above 100: lossless


def _encode(suffix: str, image: np.ndarray, option: int, value: int) -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [option, value])[1].tobytes()


def _figure(data: bytes, mime: str, caption: str, kind: str = "detail") -> str:
    address = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    text = html.escape(caption)
    return (
        f'<figure class="{kind}"><img src="{address}" alt="{text}"><figcaption>{text}</figcaption></figure>\n'
    )
