"""Images to evaluate on: any source of pairs, and the test sets of super-resolution in their usual layouts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from esrgan_jax.data.pairs import Pair, PairSource, check_sizes, paired
from esrgan_jax.data.sources import open_pairs
from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.imaging.rgb_files import image_size, read_rgb
from esrgan_jax.imaging.search import is_folder, search_folder
from esrgan_jax.system.files import user_path

SET_LAYOUTS = {
    "BasicSR": ("GTmod12", "LRbicx{scale}"),
    "EDSR": ("HR", "LR_bicubic/X{scale}"),
    "DIV2K": ("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X{scale}"),
    "super-image": ("{folder}_HR", "{folder}_LR_x{scale}"),
}
"""By layout: HR and LR below the folder of the set."""

HUANG_FOLDER = "image_SRF_{scale}"
"""Folder of HR and LR in Huang's sets: img_001_SRF_4_HR.png and img_001_SRF_4_LR.png."""

SET_ALIASES = {"B100": "BSD100", "BSDS100": "BSD100", "DIV2K": "DIV2K validation"}
"""Other names of folders: the name of the set."""

SET_SIZES = {"Set5": 5, "Set14": 14, "BSD100": 100, "Urban100": 100, "Manga109": 109, "DIV2K validation": 100}

PUBLISHED_BICUBIC = {
    ("Set5", 4): (28.42, 0.8104),
    ("Set14", 4): (26.00, 0.7027),
    ("BSD100", 4): (25.96, 0.6675),
    ("Urban100", 4): (23.14, 0.6577),
    ("Manga109", 4): (24.89, 0.7866),
}
"""PSNR in dB and SSIM on Y of bicubic enlargement by (set, scale), from ESRGAN's paper."""


class TestSet(NamedTuple):
    """A set of images to evaluate on.

    Attributes:
      source: the pairs.
      hr, lr: the origin of HR and LR, in words.
      names: of the images: paths below their common folder.
      folders: folders of HR and LR.
      others: pictures in the folder of HR whose formats are not read.
      published: PSNR and SSIM of bicubic on exactly these images in ESRGAN's paper, if any.
    """

    source: PairSource
    hr: str
    lr: str
    names: list[str]
    folders: list[Path]
    others: list[Path]
    published: tuple[float, float] | None = None


def open_test_set(
    hr: str,
    lr: str | None = None,
    *,
    scale: int,
    lr_template: str | None = None,
    data_dir: str | None = None,
    skipped: dict[str, str] | None = None,
) -> TestSet:
    """Open a test set, whose HR and LR are found by its layout, or another source of pairs.

    Args:
      hr: the folder of a test set, or what `open_pairs` takes.
      lr: folder of LR images; with it, `hr` is the folder of HR images itself. None: those of the test set in this
        scale; if there are none, LR is made by MATLAB's bicubic.
      scale: how many times HR is larger than LR.
      lr_template, data_dir, skipped: see `open_pairs`.

    Raises:
      DataError: the images cannot be used; names one.
      ConfigError: `hr` contains several test sets, or as from `open_pairs`.
    """
    made = f"made by MATLAB's bicubic from HR cropped to multiples of {scale}"
    found = None if lr or lr_template else _find_set(user_path(hr), scale)
    if found is None:
        if lr is None and is_folder(hr):
            _refuse_folder_of_sets(Path(hr), scale)
        source = open_pairs(
            hr,
            split="validation",
            scale=scale,
            lr=lr,
            lr_template=lr_template,
            data_dir=data_dir,
            skipped=skipped,
        )
        lr_words = lr or ("the set's own, else " if hr.startswith("tfds:") else "") + made
        folders = [Path(folder) for folder in (hr, lr) if folder and is_folder(folder)]
        others = list(getattr(source, "others", ()))
        return TestSet(source, f"{len(source)} of {hr}", lr_words, _short_names(source), folders, others)
    if found.layout == "Huang":
        source = HuangSource(found.hr, scale, skipped)
    else:
        source = open_pairs(found.hr, split="validation", scale=scale, lr=found.lr, skipped=skipped)
    words = f"{len(source)} of {found.hr}: {found.name} as {found.layout} has it"
    published = PUBLISHED_BICUBIC.get((found.name, scale))
    if SET_SIZES.get(found.name, len(source)) != len(source):
        words, published = f"{words}, which should be {SET_SIZES[found.name]}", None
    folders = [folder for folder in (found.hr, found.lr) if folder]
    others = list(getattr(source, "others", ()))
    return TestSet(source, words, str(found.lr or made), _short_names(source), folders, others, published)


class _Found(NamedTuple):
    name: str
    layout: str
    hr: Path
    lr: Path | None


def _find_set(folder: Path, scale: int) -> _Found | None:
    own = folder.resolve()
    huang = HUANG_FOLDER.format(scale=scale)
    for candidate, name in ((folder, own.parent.name), (folder / huang, own.name)):
        if candidate.resolve().name == huang and is_folder(candidate):
            return _Found(SET_ALIASES.get(name, name), "Huang", candidate, candidate)
    for layout, (hr_name, lr_name) in SET_LAYOUTS.items():
        hr = folder / hr_name.format(folder=own.name)
        lr = folder / lr_name.format(folder=own.name, scale=scale)
        # A folder HR alone is no sign of a test set.
        if is_folder(hr) and (layout != "EDSR" or is_folder(lr.parent)):
            return _Found(SET_ALIASES.get(own.name, own.name), layout, hr, lr if is_folder(lr) else None)
    return None


def _refuse_folder_of_sets(folder: Path, scale: int) -> None:
    try:
        children = sorted(folder.iterdir())
    except OSError:  # which is said where its pictures are looked for
        return
    sets = [child.name for child in children if is_folder(child) and _find_set(child, scale)]
    if sets:
        raise ConfigError(
            f"{folder} holds test sets ({', '.join(sets)}): evaluate one at a time, as {folder / sets[0]}."
        )


def _short_names(source: PairSource) -> list[str]:
    names = [source.name(index) for index in range(len(source))]
    if not all(Path(name).is_file() for name in names):
        return names
    files = [Path(name).absolute() for name in names]
    common = os.path.commonpath([file.parent for file in files])
    return [str(file.relative_to(common)) for file in files]


class HuangSource:
    """Pairs of NAME_HR and NAME_LR in one folder; other files, such as NAME_bicubic, are ignored.

    Items are {"lr": uint8 [h, w, 3], "hr": uint8 [h * scale, w * scale, 3]}, HR cropped to a multiple of the
    scale.

    With a dict as `skipped`, bad images are left out instead of being an error, unless all are; their names and the
    reasons are put into the dict.

    Raises:
      DataError: there is no pair, an HR image has no LR image or one whose size does not fit, or an image is
        unreadable.
    """

    def __init__(self, folder: Path, scale: int, skipped: dict[str, str] | None = None):
        self._scale = scale
        inside = search_folder(folder)
        files = [file for file in inside.images if file.parent == folder]
        self.others = [file for file in inside.others if file.parent == folder]
        self._pairs: list[tuple[Path, Path]] = []
        hr_files = [file for file in files if file.stem.endswith("_HR")]
        for hr in hr_files:
            lr = hr.with_name(f"{hr.stem.removesuffix('_HR')}_LR{hr.suffix}")
            try:
                if lr not in files:
                    raise DataError(f"{hr} has no LR image: {lr} does not exist; add it.")
                check_sizes(scale, hr, image_size(hr), lr, image_size(lr))
            except DataError as error:
                if skipped is None or (hr == hr_files[-1] and not self._pairs):
                    raise
                skipped[str(hr)] = str(error)
                continue
            self._pairs.append((hr, lr))
        if not self._pairs:
            raise DataError(f"{folder} holds no image whose name ends in _HR: give the folder of a test set.")

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        hr_file, lr_file = self._pairs[index]
        return paired(read_rgb(hr_file), read_rgb(lr_file), self._scale, hr_file, lr_file)

    def name(self, index: int) -> str:
        """Return the path of the HR image."""
        return str(self._pairs[index][0])

    def hr_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the HR file, before it is cropped to a multiple of the scale."""
        return image_size(self._pairs[index][0])
