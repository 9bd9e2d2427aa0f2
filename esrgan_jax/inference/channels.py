"""Pictures as a network takes them, and its results as pictures: dtypes, grey, alpha."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Num

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of R, G, B: ITU-R BT.601

FLOAT_TOLERANCE = 1e-3  # by which floats may leave [0, 1]: rounding errors, not another range


def check_image(image: Num[np.ndarray, "h w *c"]) -> None:
    """Check that an array is a picture.

    Raises:
      ValueError: another shape than [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], an empty array, another dtype than
        uint8, uint16 and floats, or floats that are not finite or outside [0, 1] by more than 1e-3.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"`image` is a {type(image).__name__}; a numpy array is needed.")
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != "f":
        raise ValueError(f"`image` has dtype {image.dtype}; uint8, uint16 or a floating dtype is needed.")
    if not image.size:
        raise ValueError(f"`image` has shape {image.shape}: it is empty.")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(
            f"`image` has shape {image.shape}; [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] is needed."
        )
    if image.dtype.kind == "f":
        low, high = image.min(), image.max()
        if not np.isfinite([low, high]).all():
            raise ValueError("`image` has values that are not finite (NaN or infinity).")
        if low < -FLOAT_TOLERANCE or high > 1 + FLOAT_TOLERANCE:
            raise ValueError(
                f"`image` has floats from {low:g} to {high:g}, which must be in [0, 1]; 0..255 goes in as uint8."
            )


def channel_groups(channels: int, network_channels: int) -> list[slice]:
    """Return which channels of a picture go through the network together: colours, grey, or alpha alone.

    Args:
      channels: number in the picture, 1, 3 or 4.
      network_channels: number that the network takes, 1 or 3.
    """
    if network_channels == 1:
        return [slice(i, i + 1) for i in range(channels)]
    return [slice(0, 1)] if channels == 1 else [slice(0, 3), slice(3, 4)][: channels - 2]


def to_network(
    pixels: Num[np.ndarray, "h w c"], network_channels: int
) -> Float32[np.ndarray, "h w network_channels"]:
    """Return pixels as the network takes them: float32, integers scaled to [0, 1], a grey channel repeated."""
    x = pixels.astype(np.float32) / np.float32(max_value(pixels.dtype))
    return np.broadcast_to(x, (*x.shape[:2], network_channels))


def from_network(
    sr: Float32[np.ndarray, "h w network_channels"], channels: int
) -> Float32[np.ndarray, "h w channels"]:
    """Return the network's result for a group of `channels`; where grey became coloured, its luma."""
    return sr if sr.shape[-1] == channels else (sr @ LUMA)[..., None]


def to_dtype(sr: Float32[np.ndarray, "*shape"], dtype: np.dtype) -> Num[np.ndarray, "*shape"]:
    """Return floats in [0, 1] as `dtype`: integers clipped and rounded (halves to even), floats as they are.

    Overwrites `sr`, to save memory.
    """
    if dtype.kind == "f":
        return sr.astype(dtype, copy=False)
    np.clip(sr, 0, 1, out=sr)
    sr *= max_value(dtype)
    return np.rint(sr, out=sr).astype(dtype)


def max_value(dtype: np.dtype) -> Float[np.ndarray, ""] | int:
    """Return the value of white: 255, 65535, or 1 for floats."""
    return 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)
