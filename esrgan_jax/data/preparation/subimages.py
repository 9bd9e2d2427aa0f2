"""The examples made from one picture: the whole, or overlapping squares, which decode quickly.

A whole 2K PNG takes 80 ms to decode, a sub-image 2 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from esrgan_jax.data.pairs import Pair, bicubic_lr, crop_to_hr, crop_to_multiple
from esrgan_jax.data.preparation.originals import Decoded, Original
from esrgan_jax.data.preparation.records import RecordSet
from esrgan_jax.errors import ConfigError, DataError


@dataclass(frozen=True)
class SubimageGrid:
    """The grid by which pictures are cut into sub-images.

    Attributes:
      crop_size: side of a sub-image in HR pixels (BasicSR: 480).
      step: distance from one to the next in HR pixels (BasicSR: 240).

    Source: scripts/data_preparation/extract_subimages.py of BasicSR 1.4.2, with thresh_size 0.
    """

    crop_size: int = 480
    step: int = 240

    def check(self, scale: int) -> None:
        """Raise ConfigError unless the grid falls on whole LR pixels and leaves no gap."""
        for name, value in (("--crop-size", self.crop_size), ("--step", self.step)):
            if value < 1 or value % scale:
                raise ConfigError(f"{name} (={value}) must be a multiple of the scale (={scale}).")
        if self.step > self.crop_size:
            raise ConfigError(
                f"--step (={self.step}) must not exceed --crop-size (={self.crop_size}): pixels between two "
                "sub-images would be lost."
            )

    def cut_pair(self, pair: Pair, scale: int) -> Iterator[Pair]:
        """Yield the sub-images of a pair, row by row, as views into it.

        Args:
          pair: {"lr": [h, w, 3], "hr": [h * scale, w * scale, 3]}.
          scale: how many times HR is larger.

        Yields:
          Pairs of LR side crop_size / scale and HR side crop_size at the same place; smaller only where the picture
          is.
        """
        lr, hr = pair["lr"], pair["hr"]
        side = self.crop_size // scale
        for y in starts(lr.shape[0], side, self.step // scale):
            for x in starts(lr.shape[1], side, self.step // scale):
                bottom, right = min(y + side, lr.shape[0]), min(x + side, lr.shape[1])
                yield {
                    "lr": lr[y:bottom, x:right],
                    "hr": hr[y * scale : bottom * scale, x * scale : right * scale],
                }


def starts(size: int, side: int, step: int) -> list[int]:
    """Return where sub-images of `side` pixels begin on an axis of `size`: every `step`, and one more at the border.

    The last one, at size - side, is added if the steps do not reach the border.
    """
    found = list(range(0, size - side + 1, step)) or [0]
    if found[-1] + side < size:
        found.append(size - side)
    return found


@dataclass(frozen=True)
class Examples:
    """The examples of one original.

    Attributes:
      serialized: the examples, as they are written.
      small: whether the original is smaller than a sub-image on a side.
      skipped: why there are no examples, a sentence.
    """

    serialized: list[bytes]
    small: bool = False
    skipped: str | None = None


def make_examples(original: Original, grid: SubimageGrid | None, scale: int, records: RecordSet) -> Examples:
    """Read an original, make its LR picture if needed, cut and encode both.

    LR is made from the whole HR picture and then cut, so that sub-images have no borders of their own.

    Args:
      original: the picture or pair.
      grid: how it is cut; None: it stays whole, with the bytes of its files where TFDS decodes them as we do.
      scale: how many times HR is larger than LR.
      records: the set of the examples.
    """
    try:
        hr, lr = original.read(scale)
    except DataError as error:
        # A file name may have bytes that are no text.
        return Examples([], skipped=str(error).encode(errors="backslashreplace").decode())
    cropped = crop_to_multiple(hr.image, scale)
    small_image = bicubic_lr(cropped, scale) if lr is None else lr.image
    if grid is None:
        return Examples(
            [
                records.serialize(
                    encode_png(small_image) if lr is None else _original_bytes_or_png(lr),
                    _original_bytes_or_png(hr),
                )
            ]
        )
    pair = {"lr": crop_to_hr(small_image, cropped, scale), "hr": cropped}
    serialized = [
        records.serialize(encode_png(piece["lr"]), encode_png(piece["hr"]))
        for piece in grid.cut_pair(pair, scale)
    ]
    return Examples(serialized, small=min(cropped.shape[:2]) < grid.crop_size)


def encode_png(image: np.ndarray) -> bytes:
    """Return the bytes of a PNG file of uint8 RGB [H, W, 3]."""
    # Filtered but not deflated: with the shard's zstd the set is smaller than with deflate (89 instead of 99 MB), and
    # reading a sub-image takes 2.0 ms instead of 5.6.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return encoded.tobytes()


def _original_bytes_or_png(picture: Decoded) -> bytes:
    """Return the bytes of the file if TFDS decodes the same pixels from them; else those of a PNG."""
    if picture.data.startswith((b"\x89PNG", b"\xff\xd8")):
        # As TFDS decodes: grey, alpha, palettes and 16 bits give another shape or dtype.
        bgr = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_UNCHANGED)
        if bgr is not None and bgr.dtype == np.uint8 and np.array_equal(bgr[..., ::-1], picture.image):
            return picture.data
    return encode_png(picture.image)
