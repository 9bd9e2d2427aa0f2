"""Scores of a model on a source of pairs: each of METRICS, by the papers' protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from esrgan_jax.data.pairs import Pair, PairSource
from esrgan_jax.errors import DataError, InferenceError
from esrgan_jax.imaging.color import to_uint8
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.metrics import METRICS

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8


_ENOUGH = 64
"""Pixels per side that are enough for any metric."""

Upscale = Callable[[np.ndarray], "UInt8[np.ndarray, 'h w 3'] | Float[np.ndarray, 'h w 3']"]
"""uint8 RGB [h, w, 3] -> the enlarged picture, uint8 or floats around [0, 1]."""


@dataclass(frozen=True)
class Result:
    """One image: the pair, the model's picture (uint8), and its score in each metric."""

    name: str
    pair: Pair
    sr: UInt8[np.ndarray, "h w 3"]
    scores: dict[str, float]


def evaluate(
    upscale: Upscale, source: PairSource, scale: int, *, crop_border: int | None = None
) -> Iterator[Result]:
    """Upscale every LR picture of `source` and compare it with its HR, see `protocol`.

    Args:
      upscale: the model; floats are clamped to [0, 1] and rounded to 8 bits.
      source: the pairs.
      scale: of `upscale`.
      crop_border: pixels cut from each side; None: as many as the scale.

    Raises:
      DataError: an image is unreadable or too small; names it.
      InferenceError: the model cannot enlarge an image; names it.
    """
    border = scale if crop_border is None else crop_border
    for index in range(len(source)):
        yield evaluate_image(upscale, source, index, border)


def evaluate_image(upscale: Upscale, source: PairSource, index: int, crop_border: int) -> Result:
    """Do the same for one image of `source`."""
    pair, name = source[index], source.name(index)
    try:
        sr = upscale(pair["lr"])
    except InferenceError as error:
        raise InferenceError(f"{name} cannot be enlarged: {error}") from error
    if sr.dtype != np.uint8:
        sr = to_uint8(sr)
    return Result(name, pair, sr, score(name, sr, pair["hr"], crop_border))


def check_size(name: str, hr_size: tuple[int, int] | None, scale: int, crop_border: int) -> None:
    """Check that an image is large enough for every metric; None, an unknown size, passes.

    Raises:
      DataError: see `score`.
    """
    if hr_size is None:
        return
    height, width = (side // scale * scale for side in hr_size)
    if min(height, width) <= 2 * crop_border + _ENOUGH:
        blank = np.zeros((height, width, 3), np.uint8)
        score(name, blank, blank, crop_border)


def evaluate_bicubic(source: PairSource, scale: int) -> dict[str, float]:
    """Return the mean scores of MATLAB's bicubic enlargement."""
    return mean_scores([result.scores for result in evaluate(lambda lr: imresize(lr, scale), source, scale)])


def mean_scores(scores: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of every score over the images; infinite where PSNR is, for equal pictures."""
    return {name: float(np.mean([one[name] for one in scores])) for name in METRICS}


def score(
    name: str, sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h w 3"], crop_border: int
) -> dict[str, float]:
    """Return the scores of one picture by the names in METRICS.

    Raises:
      DataError: the sizes differ, or the pictures are too small for this `crop_border`; says `name`.
    """
    try:
        return {key: metric.function(sr, hr, crop_border=crop_border) for key, metric in METRICS.items()}
    except ValueError as error:
        raise DataError(f"{name} cannot be scored: {error}") from error


def protocol(crop_border: int) -> str:
    """Return what the scores mean, in words: a sentence each for the pictures, Y, every metric and the mean."""
    metrics = " ".join(dict.fromkeys(metric.protocol for metric in METRICS.values()))
    return (
        f"Pictures are clamped to [0, 1], rounded to 8 bits, and {crop_border} pixels are cut from each side. "
        f"Y is the luma of BT.601 (16 to 235, not rounded). {metrics} The mean over images is that of their scores."
    )
