"""What a sample draws: every number of its degradation but the noise itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrgan_jax.degradation import kernels
from esrgan_jax.degradation.options import KINDS, DegradationOptions
from esrgan_jax.degradation.resize import MODES

if TYPE_CHECKING:
    from jaxtyping import Array, Float

SINC = len(KINDS)
"""Number of the kind that is no Gaussian."""

RESIZES = ("up", "down", "keep")

_UNIFORMS = 48  # more than are drawn; a number depends on its place alone, so that new draws go to the end


class BlurDraw(NamedTuple):
    """A blur kernel: number of its kind (of `KINDS`, or `SINC`), side, sigmas, angle, exponent, cut-off frequency."""

    kind: Array
    size: Array
    sigma_x: Array
    sigma_y: Array
    theta: Array
    beta: Array
    omega: Array


class OrderDraw(NamedTuple):
    """One order: blur, resize, noise, JPEG.

    Attributes:
      blur: its kernel.
      blurs: whether it is used.
      resize: number in `RESIZES`.
      factor: of the resize.
      mode: number in `resize.MODES`.
      gaussian: Gaussian noise, else Poisson.
      sigma: of Gaussian noise, in levels of 255.
      poisson_scale: of Poisson noise.
      grey: one noise for the three channels.
      quality: of JPEG.
    """

    blur: BlurDraw
    blurs: Array
    resize: Array
    factor: Array
    mode: Array
    gaussian: Array
    sigma: Array
    poisson_scale: Array
    grey: Array
    quality: Array


class Draws(NamedTuple):
    """All that one sample draws.

    Attributes:
      first, second: the two orders; JPEG of the second one stands where `jpeg_last` says.
      jpeg_last: resize, sinc, JPEG at the end; else JPEG, resize, sinc.
      mode: number of the last resize's mode, to the size of LR.
      sinc: kernel of the last filter.
      sincs: whether it is used.
      top, left: place of the crop, from 0 to less than 1: the smallest to the largest that fits.
    """

    first: OrderDraw
    second: OrderDraw
    jpeg_last: Array
    mode: Array
    sinc: BlurDraw
    sincs: Array
    top: Array
    left: Array


def draw(key: Array, options: DegradationOptions | None = None) -> Draws:
    """Draw all that a sample needs from its key; scalars, float32, int32 and bool. Pure and jittable."""
    options = DegradationOptions() if options is None else options
    numbers = iter(jax.random.uniform(jax.random.fold_in(key, 0), (_UNIFORMS,), jnp.float32))
    first = _draw_order(numbers, options, "", blur_probability=1.0)
    second = _draw_order(numbers, options, "2", blur_probability=options.second_blur_prob)
    jpeg_last = next(numbers) < 0.5
    mode = _choice(next(numbers), (1, 1, 1))
    sincs = next(numbers) < options.final_sinc_prob
    size, omega = _draw_size(next(numbers)), _between(next(numbers), np.pi / 3, np.pi)
    one = jnp.float32(1)
    sinc = BlurDraw(jnp.int32(SINC), size, one, one, jnp.float32(0), one, omega)
    return Draws(first, second, jpeg_last, mode, sinc, sincs, next(numbers), next(numbers))


def make_kernel(blur: BlurDraw, dtype: Any = jnp.float32) -> Float[Array, "21 21"]:
    """Return the kernel that was drawn."""
    shape = (blur.size, blur.sigma_x, blur.sigma_y, blur.theta)
    kinds = [
        kernels.gaussian_kernel(*shape, dtype=dtype),
        kernels.generalized_kernel(*shape, blur.beta, dtype=dtype),
        kernels.plateau_kernel(*shape, blur.beta, dtype=dtype),
        kernels.sinc_kernel(blur.size, blur.omega, dtype=dtype),
    ]
    return jax.lax.select_n(blur.kind // 2, *kinds)  # KINDS come in twos: iso, aniso


def _draw_order(
    numbers: Iterator[Array], options: DegradationOptions, order: str, blur_probability: float
) -> OrderDraw:
    def option(name: str) -> Any:
        return getattr(options, name + order)

    blur = _draw_blur(numbers, option)
    blurs = next(numbers) < blur_probability
    resize = _choice(next(numbers), option("resize_prob"))
    smallest, largest = option("resize_range")
    u = next(numbers)
    factor = jax.lax.select_n(resize, _between(u, 1, largest), _between(u, smallest, 1), jnp.float32(1))
    return OrderDraw(
        blur,
        blurs,
        resize,
        factor,
        mode=_choice(next(numbers), (1,) * len(MODES)),
        gaussian=next(numbers) < option("gaussian_noise_prob"),
        sigma=_between(next(numbers), *option("noise_range")),
        poisson_scale=_between(next(numbers), *option("poisson_scale_range")),
        grey=next(numbers) < option("gray_noise_prob"),
        quality=_between(next(numbers), *option("jpeg_range")),
    )


def _draw_blur(numbers: Iterator[Array], option: Any) -> BlurDraw:
    size = _draw_size(next(numbers))
    sinc = next(numbers) < option("sinc_prob")
    listed = jnp.asarray([KINDS.index(name) for name in option("kernel_list")], jnp.int32)
    kind = jnp.where(sinc, jnp.int32(SINC), listed[_choice(next(numbers), option("kernel_prob"))])
    omega = _between(next(numbers), jnp.where(size < 13, np.pi / 3, np.pi / 5), np.pi)
    isotropic = kind % 2 == 0
    sigma_x, sigma_y = (_between(next(numbers), *option("blur_sigma")) for _ in range(2))
    theta = jnp.where(isotropic, 0, _between(next(numbers), -np.pi, np.pi))
    below, u = next(numbers) < 0.5, next(numbers)
    betas = [
        jnp.where(below, _between(u, low, 1), _between(u, 1, high))
        for low, high in (option("betag_range"), option("betap_range"))
    ]
    beta = jax.lax.select_n(jnp.minimum(kind // 2, 2), jnp.float32(1), *betas)
    return BlurDraw(kind, size, sigma_x, jnp.where(isotropic, sigma_x, sigma_y), theta, beta, omega)


def _draw_size(u: Array) -> Array:
    return 7 + 2 * _choice(u, (1,) * 8)


def _between(u: Array, low: Any, high: Any) -> Array:
    return low + (high - low) * u


def _choice(u: Array, shares: Sequence[float]) -> Array:
    """The number of a share, drawn in proportion."""
    ends = np.cumsum(shares)[:-1] / np.sum(shares)
    return jnp.sum(u >= ends.astype(np.float32)).astype(jnp.int32)
