"""Options of the degradation: the original's names and defaults, checked."""

from __future__ import annotations

import dataclasses

from esrgan_jax.errors import ConfigError

KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
"""Kinds of blur kernels by their numbers; `len(KINDS)` stands for sinc."""

_PAIRS = (
    "blur_sigma",
    "betag_range",
    "betap_range",
    "resize_range",
    "noise_range",
    "poisson_scale_range",
    "jpeg_range",
)
_AROUND_1 = ("betag_range", "betap_range", "resize_range")
_PROBABILITIES = ("sinc_prob", "gaussian_noise_prob", "gray_noise_prob")


@dataclasses.dataclass(frozen=True)
class DegradationOptions:
    """What may be drawn, and how often. Fields that end in 2 are those of the second order.

    Source: `options/train_realesrgan_x4plus.yml` of Real-ESRGAN, the same for x2 and for RealESRNet.
    `blur_kernel_size`
    of that file is missing here, because the original never uses it: sizes are 7, 9 .. 21.

    Attributes:
      scale: HR / LR size. gt_size: side of the HR crop in pixels, a multiple of `scale`. usm_before_crop: the
      sharpened target is cut from the sharpened picture, as RealESRNet has it; False: the crop is
        sharpened, as RealESRGAN has it. They differ within 50 pixels of the crop's edge.
      kernel_list: kinds of blur kernels, of `KINDS`.
      kernel_prob: their shares, of any sum.
      sinc_prob: probability of a sinc kernel instead.
      blur_sigma: range of the sigmas in pixels.
      betag_range, betap_range: range of the exponents of generalized and plateau kernels: half of them below 1, half
        above.
      resize_prob: shares of enlarging, shrinking, keeping the size. resize_range: smallest and largest factor;
      enlarging draws from 1 to the largest, shrinking from the smallest to 1.
      gaussian_noise_prob: probability of Gaussian noise, else Poisson.
      noise_range: sigma of Gaussian noise, in levels of 255.
      poisson_scale_range: scale of Poisson noise.
      gray_noise_prob: probability that the three channels get the same noise.
      jpeg_range: quality of JPEG.
      second_blur_prob: probability that the second order blurs.
      final_sinc_prob: probability of a sinc filter at the end.

    Raises:
      ConfigError: a value cannot be used; names its field.
    """

    scale: int = 4
    gt_size: int = 256
    usm_before_crop: bool = False

    kernel_list: tuple[str, ...] = KINDS
    kernel_prob: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    sinc_prob: float = 0.1
    blur_sigma: tuple[float, float] = (0.2, 3)
    betag_range: tuple[float, float] = (0.5, 4)
    betap_range: tuple[float, float] = (1, 2)
    resize_prob: tuple[float, float, float] = (0.2, 0.7, 0.1)
    resize_range: tuple[float, float] = (0.15, 1.5)
    gaussian_noise_prob: float = 0.5
    noise_range: tuple[float, float] = (1, 30)
    poisson_scale_range: tuple[float, float] = (0.05, 3)
    gray_noise_prob: float = 0.4
    jpeg_range: tuple[float, float] = (30, 95)

    second_blur_prob: float = 0.8
    kernel_list2: tuple[str, ...] = KINDS
    kernel_prob2: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    sinc_prob2: float = 0.1
    blur_sigma2: tuple[float, float] = (0.2, 1.5)
    betag_range2: tuple[float, float] = (0.5, 4)
    betap_range2: tuple[float, float] = (1, 2)
    resize_prob2: tuple[float, float, float] = (0.3, 0.4, 0.3)
    resize_range2: tuple[float, float] = (0.3, 1.2)
    gaussian_noise_prob2: float = 0.5
    noise_range2: tuple[float, float] = (1, 25)
    poisson_scale_range2: tuple[float, float] = (0.05, 2.5)
    gray_noise_prob2: float = 0.4
    jpeg_range2: tuple[float, float] = (30, 95)

    final_sinc_prob: float = 0.8

    def __post_init__(self) -> None:
        """Check all fields; lists, as files of configurations have them, become tuples."""
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        if self.scale < 1 or self.gt_size < 1 or self.gt_size % self.scale:
            raise ConfigError(
                f"`gt_size` (={self.gt_size}) must be a multiple of `scale` (={self.scale}), from 1."
            )
        for order in ("", "2"):
            self._check_shares(f"resize_prob{order}", 3, "enlarging, shrinking and keeping")
            self._check_kinds(f"kernel_list{order}", f"kernel_prob{order}")
            for name in _PAIRS:
                self._check_pair(name + order, around_1=name in _AROUND_1)
        probabilities = [name + order for order in ("", "2") for name in _PROBABILITIES]
        for name in (*probabilities, "second_blur_prob", "final_sinc_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"`{name}` (={getattr(self, name)}) is a probability: it must be from 0 to 1."
                )

    def _check_shares(self, name: str, count: int, of: str) -> None:
        shares = getattr(self, name)
        if len(shares) != count or min(shares) < 0 or sum(shares) <= 0:
            raise ConfigError(
                f"`{name}` (={shares}) must be {count} shares, of {of}, of which one is above 0."
            )

    def _check_kinds(self, kinds: str, shares: str) -> None:
        names = getattr(self, kinds)
        unknown = [name for name in names if name not in KINDS]
        if unknown or not names:
            raise ConfigError(f"`{kinds}` (={names}) must have one or more of {', '.join(KINDS)}.")
        self._check_shares(shares, len(names), f"the kinds in `{kinds}`")

    def _check_pair(self, name: str, around_1: bool) -> None:
        pair = getattr(self, name)
        from_0, below_100 = name.startswith(("noise", "poisson")), name.startswith("jpeg")
        bounds = ("from 0" if from_0 else "above 0") + (" and below 100" if below_100 else "")
        fits = len(pair) == 2 and 0 <= pair[0] <= pair[1]
        if not fits or (pair[0] == 0 and not from_0) or (pair[1] >= 100 and below_100):
            raise ConfigError(f"`{name}` (={pair}) must be two numbers {bounds}, the smaller one first.")
        if around_1 and not pair[0] <= 1 <= pair[1]:
            raise ConfigError(
                f"`{name}` (={pair}) must be a range with 1 in it: one is drawn on either side of 1."
            )
