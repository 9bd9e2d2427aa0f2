"""The degradation of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833): HR -> LR as cameras and websites make them.

Sharpen; then twice blur, resize, noise, JPEG; a sinc filter at the end. Everything is drawn anew for each sample from
its key alone, where the original draws some things once for a batch and mixes batches in a pool of pairs: so there is
no pool, a run resumes exactly, and pictures are the same on any number of devices.

Shapes are fixed: pictures of a size that is drawn lie at the top left of a canvas that is large enough, see `live`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from esrgan_jax.degradation.blur import blur
from esrgan_jax.degradation.draws import Draws, OrderDraw, draw, make_kernel
from esrgan_jax.degradation.jpeg import jpeg
from esrgan_jax.degradation.live import Size
from esrgan_jax.degradation.noise import gaussian_noise, poisson_noise, poisson_table
from esrgan_jax.degradation.options import DegradationOptions
from esrgan_jax.degradation.resize import resize
from esrgan_jax.degradation.usm import RADIUS, sharpen
from esrgan_jax.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Array, Float, UInt8

    Batch = dict[str, Array]

_REACH = 10  # of the largest kernel, in pixels: pictures are larger, so that they can be reflected


class Degraded(NamedTuple):
    """A training pair, and the sharpened target: uint8, uint8, and float in [0, 1]."""

    lr: Array
    hr: Array
    hr_usm: Array


def degrade(gt: UInt8[Array, "h w 3"], key: Array, options: DegradationOptions | None = None) -> Degraded:
    """Return one training sample: a picture degraded, and both cut to a crop.

    Args:
      gt: a picture, RGB, sides multiples of the scale; the original's are 400 x 400.
      key: of the sample; a threefry key draws the same numbers whatever it is mapped over.
      options: None: the original's.

    Returns:
      lr [gt_size / scale, gt_size / scale, 3], hr and hr_usm [gt_size, gt_size, 3].

    Raises:
      ConfigError: the picture is too small for `gt_size`, or becomes too small to blur.
    """
    options = DegradationOptions() if options is None else options
    check_sizes(gt.shape, options)
    drawn = draw(key, options)
    sharp = sharpen(gt.astype(jnp.float32) / 255)
    lr = degrade_as_drawn(sharp, drawn, key, options)
    place = tuple(
        options.scale * jnp.floor(share * ((length - options.gt_size) // options.scale + 1)).astype(jnp.int32)
        for share, length in ((drawn.top, gt.shape[0]), (drawn.left, gt.shape[1]))
    )
    side = options.gt_size // options.scale
    cut = _cut(lr, tuple(at // options.scale for at in place), side)
    return Degraded(cut, *crop_targets(gt, sharp, place, options))


def crop_targets(
    gt: UInt8[Array, "h w 3"],
    sharp: Float[Array, "h w 3"],
    place: tuple[Any, ...],
    options: DegradationOptions,
) -> tuple[UInt8[Array, "p p 3"], Float[Array, "p p 3"]]:
    """Return the HR crop, and the sharpened one: of the sharpened picture, or sharpened itself (`usm_before_crop`).

    Args:
      gt: the picture.
      sharp: the same, sharpened; in [0, 1].
      place: (top, left) of the crop in pixels.
      options: its side, and which of both.
    """
    hr = _cut(gt, place, options.gt_size)
    if options.usm_before_crop:
        return hr, _cut(sharp, place, options.gt_size)
    return hr, sharpen(hr.astype(jnp.float32) / 255)


def degrade_as_drawn(
    picture: Float[Array, "h w 3"], drawn: Draws, key: Array, options: DegradationOptions
) -> UInt8[Array, "h//scale w//scale 3"]:
    """Return the whole picture, which is sharpened already, degraded as drawn.

    Args:
      picture: RGB in [0, 1].
      drawn: see `draws.draw`.
      key: of the noise.
      options: scale and the ranges that the canvases must hold.
    """
    first, second = drawn.first, drawn.second
    height, width = picture.shape[:2]
    small = (height // options.scale, width // options.scale)
    table = jnp.asarray(poisson_table())
    keys = [jax.random.fold_in(key, step) for step in (1, 2)]
    size1: Size = _scaled(height, width, first.factor)
    size2: Size = _scaled(height / options.scale, width / options.scale, second.factor)
    canvas2 = _canvas(*small, options.resize_range2[1])

    def from_first_resize_to_second(x: Array, canvas: tuple[int, int]) -> Array:
        x = resize(x, first.mode, size1, factor=first.factor, canvas=canvas)
        x = _add_noise(x, first, keys[0], size1, table)
        x = jpeg(x, first.quality, size1)
        x = _blur_if(second.blurs, x, second.blur, size1)
        return resize(x, second.mode, size2, size=size1, canvas=canvas2)

    # Most samples shrink: on the smallest canvas that holds the drawn size they take half as long.
    smallest, largest = options.resize_range
    canvases = sorted({_canvas(height, width, factor) for factor in (0.5, 1, largest) if factor >= smallest})
    fits = jnp.stack([(size1[0] <= rows) & (size1[1] <= columns) for rows, columns in canvases])
    branches = [functools.partial(from_first_resize_to_second, canvas=canvas) for canvas in canvases]
    x = lax.switch(jnp.argmax(fits), branches, _blur_if(first.blurs, picture, first.blur))
    x = _add_noise(x, second, keys[1], size2, table)

    def resized_and_filtered(x: Array) -> Array:
        x = resize(x, drawn.mode, small, size=size2)
        return _blur_if(drawn.sincs, x, drawn.sinc)

    x = lax.cond(
        drawn.jpeg_last,
        lambda x: jpeg(jnp.clip(resized_and_filtered(x), 0, 1), second.quality),
        lambda x: resized_and_filtered(jpeg(x, second.quality, size2)),
        x,
    )
    return jnp.clip(jnp.round(255 * x), 0, 255).astype(jnp.uint8)


def make_prepare(options: DegradationOptions | None = None) -> Callable[[Batch, Array], Batch]:
    """Return the degradation of a batch: the `prepare` of a recipe.

    It takes {"hr": uint8 [n, h, w, 3]} and keys [n], and returns "lr" and "hr" (uint8) and "hr_usm" (float), see
    `degrade`; an "lr" that was read is replaced. Samples are degraded one after the other, so that a
    branch that was not drawn costs nothing; under `jax.vmap` all branches run.
    """

    def prepare(batch: Batch, keys: Array) -> Batch:
        pictures = batch["hr"]
        n = len(keys)
        if n == 1:
            # Of one sample XLA makes no loop, and fuses otherwise: single values would be rounded to the next level.
            pictures, keys = jnp.concatenate([pictures, pictures]), jnp.concatenate([keys, keys])
        degraded = lax.map(lambda sample: degrade(sample[0], sample[1], options), (pictures, keys))
        return jax.tree.map(lambda x: x[:n], degraded)._asdict()

    return prepare


def _cut(x: Array, place: tuple[Any, ...], side: int) -> Array:
    return lax.dynamic_slice(x, (*place, 0), (side, side, 3))


def _add_noise(x: Array, order: OrderDraw, key: Array, size: Size, table: Any) -> Array:
    x = lax.cond(
        order.gaussian,
        lambda x: gaussian_noise(x, key, order.sigma, order.grey),
        lambda x: poisson_noise(x, key, order.poisson_scale, order.grey, size, table),
        x,
    )
    return jnp.clip(x, 0, 1)


def _blur_if(wanted: Array, x: Array, drawn: Any, size: Size | None = None) -> Array:
    return lax.cond(wanted, lambda x: blur(x, make_kernel(drawn, x.dtype), size), lambda x: x, x)


def _scaled(height: float, width: float, factor: Array) -> Size:
    rows, columns = (jnp.floor(side * factor).astype(jnp.int32) for side in (height, width))
    return rows, columns


def _canvas(height: int, width: int, factor: float) -> tuple[int, int]:
    """The shape that holds a picture enlarged by a factor: multiples of 16, for JPEG."""
    rows, columns = (-(-int(side * factor) // 16) * 16 for side in (height, width))
    return rows, columns


def check_sizes(shape: tuple[int, ...], options: DegradationOptions) -> None:
    """Check that pictures of this shape can be degraded (ConfigError)."""
    height, width = shape[:2]
    shortest = min(height, width)
    if height % options.scale or width % options.scale:
        raise ConfigError(
            f"A picture of {height} x {width} pixels has sides that are no multiples of {options.scale}."
        )
    if options.gt_size > shortest:
        raise ConfigError(f"`gt_size` (={options.gt_size}) exceeds the picture of {height} x {width} pixels.")
    if options.gt_size <= RADIUS // 2:
        raise ConfigError(f"`gt_size` (={options.gt_size}) must be more than {RADIUS // 2}, to be sharpened.")
    smallest = options.resize_range[0]
    if int(shortest * smallest) <= _REACH or shortest // options.scale <= _REACH:
        raise ConfigError(
            f"A picture of {height} x {width} pixels becomes {int(shortest * smallest)} pixels by `resize_range` "
            f"(={options.resize_range}) and {shortest // options.scale} by `scale` (={options.scale}): it "
            f"must keep more than {_REACH}."
        )
    if int(shortest / options.scale * options.resize_range2[0]) < 1:
        raise ConfigError(
            f"`resize_range2` (={options.resize_range2}) leaves nothing of a picture of {height} x {width} pixels."
        )
