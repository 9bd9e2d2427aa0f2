"""Random crops of a pair, with flips and a transposition, the same for LR and HR.

Source: `paired_random_crop` and `augment` of BasicSR 1.4.2 (whose `rot90` is a transposition).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import UInt8


class CropPlace(NamedTuple):
    """Where a patch is cut from a pair and how it is turned: everything random about it.

    Attributes:
      y, x: top and left of the HR patch in HR pixels, multiples of the scale; divided by it those of LR.
      flip_x: mirrored left and right.
      flip_y: mirrored top and bottom.
      transpose: rows and columns swapped, after the mirrors.
    """

    y: int
    x: int
    flip_x: bool
    flip_y: bool
    transpose: bool


def draw_crop(
    lr_size: tuple[int, int],
    gt_size: int,
    scale: int,
    rng: np.random.Generator,
    hflip: bool = True,
    rotation: bool = True,
) -> CropPlace:
    """Draw a place, all places of the LR grid equally likely, and one of the eight orientations.

    Args:
      lr_size: (height, width) of LR.
      gt_size: side of the HR patch in pixels, a multiple of `scale`.
      scale: how many times HR is larger.
      rng: five random numbers are drawn from it, whatever the switches: so one switch changes nothing else.
      hflip: mirror left and right with probability 0.5.
      rotation: mirror top and bottom with probability 0.5, and transpose with probability 0.5.

    Raises:
      ValueError: the patch is larger than the image, or not a multiple of the scale.
    """
    side = gt_size // scale
    if gt_size % scale or min(lr_size) < side:
        raise ValueError(
            f"`gt_size` (={gt_size}) must be a multiple of `scale` (={scale}) and must not exceed the image, "
            f"{lr_size} at the low resolution."
        )
    y = int(rng.integers(lr_size[0] - side + 1))
    x = int(rng.integers(lr_size[1] - side + 1))
    flip_x, flip_y, transpose = (rng.random(3) < 0.5).tolist()
    return CropPlace(y * scale, x * scale, hflip and flip_x, rotation and flip_y, rotation and transpose)


def crop_pair(
    lr: UInt8[np.ndarray, "h w c"],
    hr: UInt8[np.ndarray, "H W c"],
    place: CropPlace,
    gt_size: int,
    scale: int,
) -> tuple[UInt8[np.ndarray, "p p c"], UInt8[np.ndarray, "P P c"]]:
    """Cut the patch at `place` out of both images and turn it.

    Args:
      lr: [h, w, c].
      hr: [h * scale, w * scale, c].
      place: of the patch, with its orientation.
      gt_size: side of the HR patch in pixels, a multiple of `scale`.
      scale: how many times `hr` is larger than `lr`.

    Returns:
      LR patch of side gt_size / scale and HR patch of side `gt_size`, as contiguous copies: a patch in a queue does
      not keep its whole image in memory.

    Raises:
      ValueError: the sizes do not fit each other.
    """
    if gt_size % scale or hr.shape[:2] != (lr.shape[0] * scale, lr.shape[1] * scale):
        raise ValueError(
            f"`hr` {hr.shape} must be `scale` (={scale}) times `lr` {lr.shape}, and `gt_size` (={gt_size}) a "
            "multiple of it."
        )

    return (
        _turned(lr, place, place.y // scale, place.x // scale, gt_size // scale),
        _turned(hr, place, place.y, place.x, gt_size),
    )


def _turned(image: np.ndarray, place: CropPlace, top: int, left: int, side: int) -> np.ndarray:
    patch = image[top : top + side, left : left + side]
    # OpenCV mirrors and copies 15 times faster than numpy copies a mirrored view of 3-byte pixels.
    if place.flip_x or place.flip_y:
        patch = cv2.flip(patch, -1 if place.flip_x and place.flip_y else int(place.flip_x))
        return cv2.transpose(patch) if place.transpose else patch
    return cv2.transpose(patch) if place.transpose else patch.copy()
