"""Pairs from a folder of HR images, with or without a folder of LR images."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from esrgan_jax.data.lr_names import LrNames
from esrgan_jax.data.pairs import (
    DEFAULT_MEMORY_BYTES,
    Pair,
    PairMemory,
    bicubic_lr,
    check_sizes,
    crop_to_multiple,
    paired,
    size_text,
)
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.rgb_files import image_size, read_rgb, write_png
from esrgan_jax.system.files import cache_dir, cache_problem, go_on_without_cache

_SHRINK_VERSION = 2
"""Raised whenever `bicubic_lr` gives other values: what was cached before is then not used."""


class FolderSource:
    """All images of a folder and its subfolders, paired with their LR images.

    With an LR folder, the LR image of `HR/a/b.png` is `LR/a/b` or, as in DIV2K and BasicSR, `LR/a/bx4` (for scale 4),
    with any image suffix; `lr_template` gives other names, see `LrNames`. Its size must be the HR size divided by the
    scale, rounded down or (as by MATLAB's imresize) up.

    Without an LR folder, LR is MATLAB's bicubic, made when an image is first read and kept as a PNG in
    `cache_dir() / "lr"`. So the reader threads do it during the first epoch, beside the training, instead of some
    minutes before it (for DIV2K), and a stopped run loses nothing. Where it cannot be kept, it is made each time. The
    cached name depends on path, size and modification time of the HR file and on the scale: an image that changes is
    shrunk again.

    Items are {"lr": uint8 [h, w, 3], "hr": uint8 [h * scale, w * scale, 3]}, HR cropped at the right and bottom to a
    multiple of the scale. Decoded pairs stay in memory up to `memory_bytes`: decoding a 2K PNG takes 80 ms.

    With a dict as `skipped`, bad images found at construction are left out instead of being an error; their names and
    the reasons are put into the dict.

    Raises:
      DataError: a folder is missing or has no images; an image is unreadable or smaller than `scale`; an HR image has
        no LR image, or one whose size does not fit. Construction reads headers alone, thousands of files in a moment;
        damage after the header is found when an image is read.
      ConfigError: `lr_template` cannot name files.
    """

    def __init__(
        self,
        hr: str | Path,
        lr: str | Path | None = None,
        *,
        scale: int,
        lr_template: str | None = None,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        skipped: dict[str, str] | None = None,
    ):
        self._scale = scale
        self._memory = PairMemory(memory_bytes)
        self._cache = cache_dir() / "lr" / f"x{scale}"
        partners = LrNames(hr, lr, scale, lr_template)
        self.files: list[Path] = []  # of HR
        self.others = partners.others
        self.lr_files: list[Path] | None = None if lr is None else []
        self._sizes: list[tuple[int, int]] = []
        for file in partners.hr_files:
            try:
                size = image_size(file)
                partner = partners.lr_file(file)
                check_sizes(scale, file, size, partner, image_size(partner) if partner else None)
            except DataError as error:
                if skipped is None or (file == partners.hr_files[-1] and not self.files):
                    raise
                skipped[str(file)] = str(error)
                continue
            self.files.append(file)
            self._sizes.append(size)
            if self.lr_files is not None and partner is not None:
                self.lr_files.append(partner)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pair:
        return self._memory.get_or_read(index, self._read)

    def name(self, index: int) -> str:
        """Return the path of the HR image."""
        return str(self.files[index])

    def hr_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the HR file, before it is cropped to a multiple of the scale."""
        return self._sizes[index]

    def _read(self, index: int) -> Pair:
        file = self.files[index]
        image = read_rgb(file)
        if image.shape[:2] != self._sizes[index]:
            raise DataError(
                f"{file} had {size_text(self._sizes[index])} when it was checked and has "
                f"{size_text(image.shape)} now: do not change the folder while it is in use, and start again."
            )
        if self.lr_files is None:
            hr = crop_to_multiple(image, self._scale)
            return {"lr": self._cached_lr(file, hr), "hr": hr}
        return paired(image, read_rgb(self.lr_files[index]), self._scale, file, self.lr_files[index])

    def _cached_lr(self, file: Path, hr: np.ndarray) -> np.ndarray:
        if self._scale == 1:
            return hr
        shape = (hr.shape[0] // self._scale, hr.shape[1] // self._scale, 3)
        status = file.stat()
        key = f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}|x{self._scale}|{_SHRINK_VERSION}"
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
        cached = self._cache / digest[:2] / f"{digest[2:34]}.png"
        if os.path.isfile(cached):  # noqa: PTH113 - Path's raises where a folder may not be entered
            try:
                lr = read_rgb(cached)
            except DataError:
                lr = None  # damaged: it is made again
            if lr is not None and lr.shape == shape:
                return lr
        lr = bicubic_lr(hr, self._scale)
        try:
            write_png(cached, lr)
        except OSError as error:
            go_on_without_cache(cache_problem() or f"{cached} cannot be written ({error.strerror or error})")
        return lr
