"""Sources of pairs by name: the embedded photos, a prepared TFDS set, a folder, or several of them."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esrgan_jax.data.folder import FolderSource
from esrgan_jax.data.pairs import Pair, PairSource, size_text
from esrgan_jax.data.samples import SampleSource
from esrgan_jax.data.split import PREFIX as SPLIT_PREFIX
from esrgan_jax.data.split import SplitSource
from esrgan_jax.data.tfds import TfdsSource
from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.system.files import user_path


def open_pairs(
    spec: str | Path,
    *,
    split: str,
    scale: int,
    lr: str | Path | None = None,
    lr_template: str | None = None,
    weights: Sequence[float] = (),
    data_dir: str | Path | None = None,
    held_out: Sequence[str] = (),
    skipped: dict[str, str] | None = None,
) -> PairSource:
    """Open the source that a configuration names, and check what can be checked without decoding images.

    Args:
      spec: "sample" for the embedded photos, "tfds:NAME" for a prepared TFDS set (such as
        "tfds:div2k/bicubic_x4"), else a folder of HR images ("./sample" for a folder of that name), or
        "split:FOLDER" for one side of it. Several, with commas between them, are mixed, unless a folder has the whole
        name.
      split: "train" or "validation"; a folder without "split:" has none and ignores it.
      scale: how many times HR is larger than LR.
      lr: folder of LR images, for a folder of HR images only; None: they are made by MATLAB's bicubic. For several
        sources as many, separated by commas, empty for those without.
      lr_template: name of the LR image of an HR image, see `LrNames`.
      weights: shares of several sources, see `Mixture`.
      data_dir: where TFDS keeps its sets, for "tfds:NAME" only; None: TFDS's default.
      held_out: contents that are, for "split:FOLDER" only, see `SplitSource`.
      skipped: None: a bad image is an error; a dict: it is left out, and its name and the reason are put there.

    Raises:
      ConfigError: `lr` is given for a source that is no folder; `lr` or `weights` are not as many as the sources.
      DataError: the data cannot be used.
    """
    specs, lrs = split_specs(spec), split_specs(lr or "")
    if lr is None:
        lrs *= len(specs)
    if len(lrs) != len(specs):
        raise ConfigError(
            f"{lr} names {len(lrs)} LR folders, but {spec} is {len(specs)} sources: give as many, separated by "
            "commas, empty for a source without (HR1,HR2 and LR1,)."
        )

    def open_one(one: str, one_lr: str) -> PairSource:
        if one_lr and (one == "sample" or one.startswith("tfds:")):
            raise ConfigError(
                f"A folder of LR images ({one_lr}) goes with a folder of HR images, not with {one}."
            )
        if one == "sample":
            return SampleSource(split, scale)
        if one.startswith("tfds:"):
            return TfdsSource(one.removeprefix("tfds:"), split, scale, data_dir)
        options: dict[str, Any] = {"scale": scale, "lr_template": lr_template, "skipped": skipped}
        if one.startswith(SPLIT_PREFIX):
            folder = one.removeprefix(SPLIT_PREFIX)
            return SplitSource(folder, one_lr or None, split=split, held_out=held_out, **options)
        return FolderSource(one, one_lr or None, **options)

    sources = [open_one(*both) for both in zip(specs, lrs, strict=True)]
    return sources[0] if len(sources) == 1 and not weights else Mixture(sources, weights)


class Mixture:
    """Several sources as one, with the share of each in the patches of a run.

    Args:
      sources: at least one.
      weights: relative numbers of patches, as (3, 1); empty: the numbers of images, so that every image comes equally
        often.

    Raises:
      ConfigError: the number of weights is wrong, or one is not above 0.
    """

    def __init__(self, sources: Sequence[PairSource], weights: Sequence[float] = ()):
        self.sizes = [len(source) for source in sources]
        numbers = all(isinstance(weight, int | float) and 0 < weight < float("inf") for weight in weights)
        if not numbers or (weights and len(weights) != len(sources)):
            raise ConfigError(
                f"data.train_weights (={tuple(weights)}) must be numbers above 0, as many as there are sources "
                f"({len(sources)}), or () to take every image equally often."
            )
        self.weights: list[float] = list(weights) or list(self.sizes)
        self.sources = list(sources)
        self.files = [file for source in sources for file in getattr(source, "files", ())]
        self.others = [file for source in sources for file in getattr(source, "others", ())]
        self._offsets = [0, *itertools.accumulate(self.sizes)]

    def __len__(self) -> int:
        return self._offsets[-1]

    def __getitem__(self, index: int) -> Pair:
        source, inner = self._find(index)
        return source[inner]

    def name(self, index: int) -> str:
        """Return the name that its source gives the image."""
        source, inner = self._find(index)
        return source.name(inner)

    def hr_size(self, index: int) -> tuple[int, int] | None:
        """Return (height, width) of the HR image, or None, from its source."""
        source, inner = self._find(index)
        return source.hr_size(inner)

    def _find(self, index: int) -> tuple[PairSource, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect.bisect_right(self._offsets, index) - 1
        return self.sources[number], index - self._offsets[number]


def describe_skipped(skipped: Mapping[str, str]) -> str:
    """Return one line about the skipped images: their number, and the reasons of the last three.

    Args:
      skipped: name and reason of at least one image; threads may be adding to it.
    """
    reasons = list(skipped.values())
    count = f"{len(reasons)} bad image{'s are' if len(reasons) > 1 else ' is'} skipped"
    return f"{count}{', most recently' if len(reasons) > 3 else ''}: {' '.join(reasons[-3:])}"


def split_specs(spec: str | Path) -> list[str]:
    """Return the sources in "A,B" without spaces around them; an existing folder of the whole name is one source."""
    if user_path(str(spec).removeprefix(SPLIT_PREFIX)).is_dir():
        return [str(spec)]
    return [one.strip() for one in str(spec).split(",")]


def check_patch_sizes(source: PairSource, gt_size: int, skipped: dict[str, str] | None = None) -> None:
    """Check that a patch fits into every image whose size is known without decoding it.

    Args:
      source: the images.
      gt_size: side of the HR patch in pixels.
      skipped: None: a smaller image is an error; a dict: its name and the reason are put there.

    Raises:
      DataError: an image is smaller; names it. With `skipped`: all of them are.
    """
    fits = False
    for index in range(len(source)):
        try:
            check_patch_fits(source.name(index), source.hr_size(index), gt_size)
            fits = True
        except DataError as error:
            if skipped is None or (index == len(source) - 1 and not fits):
                raise
            skipped[source.name(index)] = str(error)


def check_patch_fits(name: str, hr_size: tuple[int, int] | None, gt_size: int) -> None:
    """Check the same for one image of size (height, width); None, an unknown size, passes."""
    if hr_size is not None and min(hr_size) < gt_size:
        raise DataError(
            f"{name} has {size_text(hr_size)}, too few for a training patch of {gt_size}x{gt_size}: choose a "
            "smaller gt_size, remove the image, or skip such images with --config.data.on_bad_image=skip. Where "
            "photos are degraded, the patch is degradation.crop_pad_size."
        )
