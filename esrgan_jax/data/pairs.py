"""A training pair, HR and its LR version, both uint8 RGB; its checks, and the protocol of a source of pairs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from esrgan_jax.errors import DataError
from esrgan_jax.imaging.resize import imresize

if TYPE_CHECKING:
    from jaxtyping import UInt8

Pair = dict[str, np.ndarray]  # {"lr": uint8 [h, w, 3], "hr": uint8 [h * scale, w * scale, 3]}

DEFAULT_MEMORY_BYTES = 2 << 30

SWAP = (
    "Swap the two folders, HR and LR: --config.data.train and --config.data.train_lr (or validation and "
    "validation_lr; of esrgan-jax evaluate, --hr and --lr)."
)


class PairSource(Protocol):
    """A source of pairs, as the pipeline and the evaluation use it; several threads may at once."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Pair:
        """Return {"lr": uint8 [h, w, 3], "hr": uint8 [h * scale, w * scale, 3]}; do not write to them."""

    def name(self, index: int) -> str:
        """Return the name of the image for error messages: its path, if it has one."""

    def hr_size(self, index: int) -> tuple[int, int] | None:
        """Return (height, width) of the HR image before cropping; None if it is not known before decoding."""


def paired(
    hr: UInt8[np.ndarray, "H W 3"],
    lr: UInt8[np.ndarray, "h w 3"] | None,
    scale: int,
    name: str | Path,
    lr_name: str | Path | None = None,
) -> Pair:
    """Return a pair whose sizes have been checked, HR cropped to a multiple of the scale and LR cropped to match.

    Args:
      hr: the picture as it was read.
      lr: likewise; None to make it by MATLAB's bicubic.
      scale: how many times HR is larger.
      name: of HR in errors.
      lr_name: of LR in errors.

    Raises:
      DataError: see `check_sizes`.
    """
    check_sizes(scale, name, hr.shape, lr_name, None if lr is None else lr.shape)
    cropped = crop_to_multiple(hr, scale)
    return {"lr": bicubic_lr(cropped, scale) if lr is None else crop_to_hr(lr, cropped, scale), "hr": cropped}


def check_sizes(
    scale: int,
    name: str | Path,
    size: tuple[int, ...],
    lr_name: str | Path | None = None,
    lr_size: tuple[int, ...] | None = None,
) -> None:
    """Check that HR has at least `scale` pixels on each side, and that LR is as large as HR divided by the scale.

    Args:
      scale: how many times HR is larger.
      name: of HR in errors.
      size: (height, width[, channels]) of HR.
      lr_name: of LR in errors.
      lr_size: (height, width[, channels]) of LR; None: there is none.

    Raises:
      DataError: one of the two does not hold; names the images.
    """
    if min(size[:2]) < scale:
        raise DataError(f"{name} has {size_text(size)}, too few to be shrunk {scale} times: remove it.")
    if lr_size is not None and max(lr_size[:2]) > max(size[:2]):
        raise DataError(
            f"The LR image {lr_name} ({size_text(lr_size)}) is larger than the HR image {name} ({size_text(size)}). "
            f"{SWAP}"
        )
    if lr_size is not None and not sizes_fit(size[:2], lr_size[:2], scale):
        raise DataError(
            f"{lr_name} ({size_text(lr_size)}) is not {name} ({size_text(size)}) shrunk {scale} times: choose the "
            "scale that fits, replace one of the two, or leave out the LR images to have them made."
        )


def crop_to_multiple(hr: UInt8[np.ndarray, "H W 3"], scale: int) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Return the largest top-left part of `hr` whose height and width are multiples of `scale`."""
    height, width = hr.shape[0] // scale * scale, hr.shape[1] // scale * scale
    return np.ascontiguousarray(hr[:height, :width])


def bicubic_lr(hr: UInt8[np.ndarray, "H W 3"], scale: int) -> UInt8[np.ndarray, "h w 3"]:
    """Return LR as papers make it from HR: by MATLAB's bicubic, rounded to uint8.

    Args:
      hr: uint8 RGB, height and width multiples of `scale`.
      scale: how many times smaller; 1 returns `hr` itself.
    """
    return hr if scale == 1 else imresize(hr, 1 / scale)


def sizes_fit(hr_size: tuple[int, ...], lr_size: tuple[int, ...], scale: int) -> bool:
    """Return whether LR's (height, width) is HR's divided by `scale`, rounded down, or up as by imresize."""
    return all(lr in (hr // scale, -(-hr // scale)) for hr, lr in zip(hr_size, lr_size, strict=True))


def crop_to_hr(lr: UInt8[np.ndarray, "h w 3"], hr: np.ndarray, scale: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Return `lr` without the last row and column if `hr` has been cropped of their part."""
    return np.ascontiguousarray(lr[: hr.shape[0] // scale, : hr.shape[1] // scale])


def size_text(size: tuple[int, ...]) -> str:
    """Return an image's (height, width[, channels]) as "WxH pixels"."""
    return f"{size[1]}x{size[0]} pixels"


class PairMemory:
    """A cache of decoded pairs by index, up to a number of bytes; safe to use from several threads.

    Nothing is evicted. Training reads every picture once per epoch in a new order, so that an LRU cache would evict
    most pictures just before they are needed again; this one serves (budget / size of the set) of all reads.
    """

    def __init__(self, budget_bytes: int):
        self._free = budget_bytes
        self._pairs: dict[int, Pair] = {}
        self._lock = threading.Lock()

    def get_or_read(self, index: int, read: Callable[[int], Pair]) -> Pair:
        """Return the pair kept under `index`; if there is none, read it and keep it."""
        pair = self.get(index)
        if pair is None:
            pair = read(index)
            self.put(index, pair)
        return pair

    def get(self, index: int) -> Pair | None:
        """Return the pair kept under `index`, or None."""
        return self._pairs.get(index)

    def put(self, index: int, pair: Pair) -> None:
        """Keep `pair` if it fits, and make its arrays read-only, because all later readers share them."""
        size = sum({id(array): array.nbytes for array in pair.values()}.values())  # of scale 1 both are one
        for array in pair.values():
            array.flags.writeable = False
        with self._lock:
            if index not in self._pairs and size <= self._free:
                self._pairs[index] = pair
                self._free -= size
