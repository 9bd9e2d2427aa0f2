"""Pairs of photo files: which photos, the part of each that training would see, and what was drawn in words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from esrgan_jax.degradation.draws import RESIZES, SINC, BlurDraw, Draws, OrderDraw
from esrgan_jax.degradation.options import KINDS
from esrgan_jax.degradation.resize import MODES
from esrgan_jax.errors import ConfigError
from esrgan_jax.imaging.kinds import describe_left_out
from esrgan_jax.imaging.search import is_folder, natural_key, search_folder

if TYPE_CHECKING:
    from jaxtyping import UInt8

PATCH = 400
"""Side of what is degraded, in pixels: the sub-images of the original, of which `gt_size` are kept."""


class Photo(NamedTuple):
    """A photo file, and the name of its pair, below HR and LR."""

    source: Path
    name: Path


def find_photos(photos: str | os.PathLike, output: str | os.PathLike) -> list[Photo]:
    """Return the photos of a folder with its subfolders, in natural order, or the one file; pairs are PNG.

    What lies in the output folder is no photo: earlier pairs, where that folder lies among the photos.

    Raises:
      ConfigError: there is none, or two would have pairs of one name.
    """
    if not os.path.lexists(photos):
        raise ConfigError(f"{photos} does not exist: give a folder of photos, or one photo.")
    found = [Path(photos)]
    if is_folder(photos):
        images, others = search_folder(photos)
        found = sorted(images, key=natural_key)
        if not found:
            more = f"; {describe_left_out(others)}" if others else ""
            raise ConfigError(f"{photos} contains no pictures that can be degraded{more}.")
    inside = os.path.join(os.path.realpath(output), "")  # noqa: PTH118
    found = [source for source in found if not os.path.realpath(source).startswith(inside)]
    if not found:
        raise ConfigError(f"{photos} lies in the output folder {output}: choose another one for the pairs.")
    named: dict[Path, Photo] = {}
    for source in found:
        if os.path.realpath(source).startswith(inside):
            raise ConfigError(
                f"{source} lies in the output folder {output}: choose another one for the pairs."
            )
        name = Path(source.name) if source == Path(photos) else source.relative_to(photos)
        photo = Photo(source, name.with_suffix(".png"))
        if (other := named.setdefault(photo.name, photo)) is not photo:
            raise ConfigError(
                f"{other.source} and {source} would both become {photo.name}: rename one of them."
            )
    return list(named.values())


def cut_patch(image: UInt8[np.ndarray, "h w 3"], seed: int, number: int) -> UInt8[np.ndarray, "400 400 3"]:
    """Return a random part of photo `number`, as the original's training takes it.

    Sides below 400 pixels are lengthened at bottom and right by reflection. Source: Real-ESRGAN,
    `realesrgan/data/realesrgan_dataset.py`.
    """
    height, width = image.shape[:2]
    lacking = ((0, max(0, PATCH - height)), (0, max(0, PATCH - width)), (0, 0))
    image = np.pad(image, lacking, mode="reflect") if np.any(lacking) else image
    rng = np.random.default_rng((seed, number))
    top, left = (int(rng.integers(side - PATCH + 1)) for side in image.shape[:2])
    return image[top : top + PATCH, left : left + PATCH]


def describe(drawn: Draws) -> list[str]:
    """Return what one sample drew, in three lines: first order, second order, end."""
    drawn = jax.tree.map(np.asarray, drawn)
    jpeg = f"JPEG {drawn.second.quality:.0f}"
    sinc = _blur_in_words(drawn.sinc, drawn.sincs)
    end = (
        [f"{MODES[drawn.mode]} to size", sinc, jpeg]
        if drawn.jpeg_last
        else [jpeg, f"{MODES[drawn.mode]} to size", sinc]
    )
    first = [*_order_in_words(drawn.first), f"JPEG {drawn.first.quality:.0f}"]
    return [_joined("1", first), _joined("2", _order_in_words(drawn.second)), _joined("end", end)]


def _joined(title: str, steps: Sequence[str]) -> str:
    return f"{title}: {', '.join(step for step in steps if step)}"


def _order_in_words(order: OrderDraw) -> list[str]:
    noise = (
        f"Gaussian noise {order.sigma:.1f}"
        if order.gaussian
        else f"Poisson noise x {order.poisson_scale:.2f}"
    )
    factor = "" if RESIZES[order.resize] == "keep" else f"x {order.factor:.2f} {MODES[order.mode]}"
    return [_blur_in_words(order.blur, order.blurs), factor, noise + (" grey" if order.grey else "")]


def _blur_in_words(blur: BlurDraw, used: Any) -> str:
    if not used:
        return ""
    if blur.kind == SINC:
        return f"sinc {blur.size} at {blur.omega / np.pi:.2f} pi"
    sigmas = f"{blur.sigma_x:.1f}" if blur.kind % 2 == 0 else f"{blur.sigma_x:.1f} x {blur.sigma_y:.1f}"
    exponent = f", beta {blur.beta:.1f}" if blur.kind > 1 else ""
    return f"{KINDS[blur.kind].replace('_', ' ')} blur {sigmas}{exponent}"
