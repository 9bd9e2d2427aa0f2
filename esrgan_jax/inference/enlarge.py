"""A picture of any kind, enlarged: a path, PIL image, array or list goes in, and the same kind comes out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from esrgan_jax.inference.channels import check_image
from esrgan_jax.inference.progress import Progress, TileTotals, shown

if TYPE_CHECKING:
    from PIL import Image

    from esrgan_jax.imaging.picture import Picture
    from esrgan_jax.inference.picture_upscaler import StripUpscaler


@overload
def enlarge(
    upscaler: StripUpscaler,
    picture: str | os.PathLike[str] | Image.Image,
    *,
    outscale: float | None = None,
    progress: bool | Progress | None = None,
) -> Image.Image: ...


@overload
def enlarge(
    upscaler: StripUpscaler,
    picture: np.ndarray,
    *,
    outscale: float | None = None,
    progress: bool | Progress | None = None,
) -> np.ndarray: ...


@overload
def enlarge(
    upscaler: StripUpscaler,
    picture: list[Any] | tuple[Any, ...],
    *,
    outscale: float | None = None,
    progress: bool | Progress | None = None,
) -> list[Any]: ...


def enlarge(
    upscaler: StripUpscaler,
    picture: Any,
    *,
    outscale: float | None = None,
    progress: bool | Progress | None = None,
) -> Any:
    """Return the enlarged picture, of the kind that went in.

    Args:
      upscaler: the `Upscaler` or `Chain` that is called.
      picture: one of

        - an array [H, W] or [H, W, 1] grey, [H, W, 3] RGB or [H, W, 4] RGB and alpha, of any size, or a batch
          [N, H, W, C]: uint8 and uint16 over their whole range, floats in [0, 1]. The result has the same dtype and
          channels; integers are rounded and clipped, floats are not clipped. Grey goes through an RGB network as
          three equal channels and comes back as their luma; alpha goes through it as another grey picture.
        - a path of a PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF or, with pillow-heif, HEIC. Palettes become RGB, CMYK and
          Lab sRGB, and the EXIF orientation is carried out (see `imaging.read_picture`). The result is a PIL image
          with the file's colour profile, EXIF and XMP in its `info`.
        - a PIL image. The result is one of mode L, LA, RGB, RGBA or I;16 (grey, 16 bits), converted as
          `imaging.pil_images.from_pil` says. Alpha of PIL images and files is enlarged by bicubic interpolation;
          fully transparent pixels take the nearest visible colour first.
        - a list or tuple of these. The result is a list. All files are read before the first one is enlarged.

      outscale: output size / input size; the network's result is resized to it as MATLAB's imresize does. None:
        the network's scale.
      progress: True shows a bar on stderr; a function is called after each tile with (tiles done, tiles in all).

    Raises:
      ValueError: an array of another shape or dtype, floats outside [0, 1], or another kind of picture.
      DataError: a file cannot be read.
      ConfigError: `outscale` is not in (0, 64].
      InferenceError: the result is not finite, or the device's memory is too small for the smallest tile.
    """
    # On first use: where nothing is installed but JAX, `Upscaler.strips` works.
    from esrgan_jax.imaging.picture import Picture
    from esrgan_jax.inference.picture_upscaler import PictureUpscaler

    enlarger = PictureUpscaler(upscaler, outscale=outscale)
    parts = list(_parts(picture))
    shapes = [(*(part.pixels if isinstance(part, Picture) else part).shape, 1)[:3] for part in parts]
    with shown(progress) as report:
        totals = TileTotals(report, [upscaler.tile_count(*shape) for shape in shapes])
        results = (
            enlarger(part, totals.of(index))
            if isinstance(part, Picture)
            else enlarger.enlarge_array(part, totals.of(index))
            for index, part in enumerate(parts)
        )
        return _rebuild(picture, results)


def _parts(picture: Any) -> Iterator[Picture | np.ndarray]:
    """Yield the single pictures of which `picture` consists; arrays stay arrays."""
    if isinstance(picture, list | tuple):
        for one in picture:
            yield from _parts(one)
    elif isinstance(picture, str | os.PathLike):
        from esrgan_jax.imaging.read_picture import read_picture

        yield read_picture(picture)
    elif _is_pil(picture):
        from esrgan_jax.imaging.pil_images import from_pil

        yield from_pil(picture)
    elif isinstance(picture, np.ndarray) and picture.ndim == 4 and picture.size:
        for one in picture:
            yield from _parts(one)
    elif isinstance(picture, np.ndarray):
        check_image(picture)
        yield picture
    else:
        raise ValueError(
            f"`picture` has type {type(picture).__name__}; a path, a PIL image, a numpy array or a list of them is "
            "needed."
        )


def _rebuild(picture: Any, results: Iterator[Any]) -> Any:
    """Put the results of `_parts` together as `picture` is."""
    if isinstance(picture, list | tuple):
        return [_rebuild(one, results) for one in picture]
    if isinstance(picture, np.ndarray):
        return np.stack([next(results) for _ in picture]) if picture.ndim == 4 else next(results)
    from esrgan_jax.imaging.pil_images import to_pil

    return to_pil(next(results))


def _is_pil(picture: Any) -> bool:
    pil = sys.modules.get("PIL.Image")  # whoever has such an image has imported it
    return pil is not None and isinstance(picture, pil.Image)
