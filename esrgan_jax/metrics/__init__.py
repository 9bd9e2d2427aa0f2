"""Metrics of a picture against the original, and METRICS, the list that decides what is measured and shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

# Not lazy: the modules need numpy alone, and a lazy name would be shadowed by the module of the same name.
from esrgan_jax.metrics.psnr import psnr
from esrgan_jax.metrics.ssim import ssim

__all__ = ["METRICS", "Metric", "psnr", "ssim"]


@dataclass(frozen=True)
class Metric:
    """A metric and how its scores are written.

    Attributes:
      name: as in "PSNR".
      function: (sr, hr, crop_border=pixels) -> score, of uint8 [H, W, 3]; ValueError: it cannot be computed.
      protocol: how it is computed, one sentence.
      digits: decimals shown, as many as papers print.
      channels: "Y" or "RGB"; may be empty.
      unit: as in "dB"; may be empty.
      larger_is_better: which scores `keep_best` prefers.
      headline: whether it is also shown in the log of a run and under the pictures of a page, where few fit.
    """

    name: str
    function: Callable[..., float]
    protocol: str
    digits: int
    channels: str = ""
    unit: str = ""
    larger_is_better: bool = True
    headline: bool = True

    @property
    def title(self) -> str:
        """Name and channels: "PSNR Y"."""
        return f"{self.name} {self.channels}".rstrip()

    @property
    def heading(self) -> str:
        """Title and unit, for a column or an axis: "PSNR Y [dB]"."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title

    def number(self, score: float) -> str:
        """Return a score without its unit: "28.42"."""
        return f"{score:.{self.digits}f}"

    def text(self, score: float) -> str:
        """Return a score with its unit: "28.42 dB"."""
        return f"{self.number(score)} {self.unit}".rstrip()


_PSNR = "PSNR is 10 log10(255^2 / MSE) in float64, with one MSE over R, G and B for RGB."
_SSIM = (
    "SSIM has an 11x11 Gaussian window of sigma 1.5, inside the picture only, and is the mean of R, G and B "
    "for RGB."
)

METRICS = {
    "psnr_y": Metric("PSNR", partial(psnr, y_channel=True), _PSNR, 2, "Y", "dB"),
    "psnr_rgb": Metric("PSNR", partial(psnr, y_channel=False), _PSNR, 2, "RGB", "dB"),
    "ssim_y": Metric("SSIM", partial(ssim, y_channel=True), _SSIM, 4, "Y"),
    "ssim_rgb": Metric("SSIM", partial(ssim, y_channel=False), _SSIM, 4, "RGB", headline=False),
}
"""What is measured, in the order shown; the first comes first in the log and is drawn as a curve."""
