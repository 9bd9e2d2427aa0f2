"""Colours below transparency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import UInt


def bleed(pixels: UInt[np.ndarray, "h w *c"], alpha: UInt[np.ndarray, "h w"]) -> UInt[np.ndarray, "h w *c"]:
    """Gives fully transparent pixels the colour of the nearest pixel that is not.

    What such pixels hold is accidental, most often black. A network looks at neighbourhoods, and would draw it
    into the visible edge as a dark fringe.

    Args:
      pixels: grey or RGB, not premultiplied.
      alpha: 0 = transparent.

    Returns:
      A copy, or `pixels` where nothing or everything is transparent.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    # Labels of the visible pixels (they are zero in the mask), and for each pixel the label of the nearest.
    _, nearest = cv2.distanceTransformWithLabels(
        hidden.view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    visible = ~hidden
    where = np.zeros(nearest.max() + 1, np.int64)
    where[nearest[visible]] = np.flatnonzero(visible)
    result = pixels.copy()
    flat = pixels.reshape(-1, *pixels.shape[2:])
    result[hidden] = flat[where[nearest[hidden]]]
    return result
