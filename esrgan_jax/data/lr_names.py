"""The LR image of each HR image of a folder, by their names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from esrgan_jax.data.pairs import SWAP
from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.imaging.kinds import IMAGE_SUFFIXES, describe_left_out
from esrgan_jax.imaging.search import find_images, is_folder, search_folder
from esrgan_jax.system.files import cache_dir, user_path


class LrNames:
    """The HR images of a folder, and the rule that finds their LR images.

    Attributes:
      hr_files: the HR images, see `imaging.search`.
      others: pictures beside them whose formats are not read.

    Args:
      hr: folder of HR images.
      lr: folder of LR images, or None. One folder may lie inside the other (set/ and set/LR): no image is both.
      scale: how many times HR is larger.
      template: name of the LR image of `HR/a/b.png` in `LR/a`, with an image suffix or, for any of them, without:
        "{name}" stands for b, "{scale}" for the scale. None: "{name}", else "{name}x{scale}".

    Raises:
      DataError: a folder is missing, the HR folder has no images, or both are the same.
      ConfigError: a template without "{name}".
    """

    def __init__(self, hr: str | Path, lr: str | Path | None, scale: int, template: str | None = None):
        if template is not None and "{name}" not in template:
            raise ConfigError(
                f"The template of LR names (={template}) must hold {{name}}, the name of the HR image, for "
                "example {name}x4."
            )
        self.hr_folder = _existing_folder(hr, "HR")
        self.lr_folder = None if lr is None else _existing_folder(lr, "LR")
        # If the cache is below the HR folder, its LR images must not become HR images of the next run.
        inside = search_folder(self.hr_folder)
        self.hr_files = _without_inner_folder(inside.images, self.hr_folder, cache_dir() / "lr")
        self.others = inside.others
        templates = ("{name}", "{name}x{scale}") if template is None else (template,)
        self._templates = [_split_suffix(template.replace("{scale}", str(scale))) for template in templates]
        self._lr_files: dict[Path, list[Path]] = defaultdict(list)
        if self.lr_folder is not None:
            if self.hr_folder.samefile(self.lr_folder):
                raise DataError(
                    f"HR and LR are the same folder ({self.hr_folder}): leave the LR folder out to have LR images "
                    "made."
                )
            self.hr_files = _without_inner_folder(self.hr_files, self.hr_folder, self.lr_folder)
            self.others = _without_inner_folder(self.others, self.hr_folder, self.lr_folder)
            for file in _without_inner_folder(find_images(self.lr_folder), self.lr_folder, self.hr_folder):
                self._lr_files[file.relative_to(self.lr_folder).with_suffix("")].append(file)
        if not self.hr_files:
            raise DataError(
                f"The HR folder {self.hr_folder} holds no image ({', '.join(IMAGE_SUFFIXES)}), nor do its subfolders"
                + (f"; {describe_left_out(self.others)}." if self.others else ".")
            )
        self._users: dict[Path, list[Path]] = defaultdict(list)
        for file in self.hr_files:
            if (partner := self._find(file.relative_to(self.hr_folder))) is not None:
                self._users[partner].append(file)

    def lr_file(self, hr_file: Path) -> Path | None:
        """Return the LR image of one of `hr_files`; None if there is no LR folder.

        Raises:
          DataError: the image is missing, and says which names were looked for; or another HR image has the same.
        """
        if self.lr_folder is None:
            return None
        relative = hr_file.relative_to(self.hr_folder)
        partner = self._find(relative)
        if partner is not None:
            users = [hr_file, *(file for file in self._users[partner] if file != hr_file)]
            if len(users) > 1:
                raise DataError(
                    f"{' and '.join(map(str, users))} have one LR image, {partner}: give each its own, with the "
                    "suffix of its HR image, or remove what does not belong to it."
                )
            return partner
        wanted = [f"{stem}{suffix}" for stem, suffix, _ in self._candidates(relative)]
        if self._is_lr_name(relative):
            raise DataError(
                f"{hr_file} has the name of an LR image, and {self.lr_folder} those of HR images. {SWAP}"
            )
        names = f"neither {' nor '.join(wanted)}" if len(wanted) > 1 else f"no {wanted[0]}"
        raise DataError(
            f"{hr_file} has no LR image: {self.lr_folder} holds {names}"
            + ("" if self._templates[-1][1] else ", nor one with another suffix")
            + "; add it, say how LR images are named (data.lr_template, as {name}x4), or leave the LR folder out to "
            "have LR images made."
        )

    def _find(self, relative: Path) -> Path | None:
        """Return the LR image of an HR image by its path in the folder, that of the same suffix first."""
        for stem, suffix, any_suffix in self._candidates(relative):
            found = self._lr_files.get(stem, [])
            for wanted in (suffix, suffix.lower()):
                for file in found:
                    if wanted in (file.suffix, file.suffix.lower()):
                        return file
            if found and any_suffix:
                return found[0]
        return None

    def _candidates(self, relative: Path) -> Iterator[tuple[Path, str, bool]]:
        """Yield names of LR images, those that count first: path without suffix, suffix, whether others will do."""
        for template, suffix in self._templates:
            stem = relative.parent / template.replace("{name}", relative.stem)
            yield stem, suffix or relative.suffix, not suffix

    def _is_lr_name(self, relative: Path) -> bool:
        """Return whether the folder of LR images holds an image whose LR image would have this name."""
        return any(
            stem.parent == relative.parent
            and template.replace("{name}", stem.name) == relative.stem != stem.name
            for stem in self._lr_files
            for template, _ in self._templates
        )


def _split_suffix(template: str) -> tuple[str, str]:
    """Return the template without its suffix, and the suffix; empty if it is not that of an image."""
    suffix = Path(template).suffix
    return (template.removesuffix(suffix), suffix) if suffix.lower() in IMAGE_SUFFIXES else (template, "")


def _existing_folder(folder: str | Path, kind: str) -> Path:
    if not str(folder).strip():
        raise ConfigError(f"The {kind} folder is empty text: give the folder that holds the images.")
    path = user_path(folder)
    if is_folder(path):
        return path
    if path.exists():
        raise DataError(f"The {kind} folder {path} is a file: give the folder that holds the images.")
    raise DataError(
        f"The {kind} folder {path} does not exist: name a folder of images, tfds:NAME for a prepared TFDS "
        "set, or sample for the embedded photos."
    )


def _without_inner_folder(files: list[Path], folder: Path, other: Path) -> list[Path]:
    inner = Path(os.path.realpath(other))
    if not inner.is_relative_to(os.path.realpath(folder)):
        return files
    return [file for file in files if not Path(os.path.realpath(file)).is_relative_to(inner)]
