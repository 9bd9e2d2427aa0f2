"""Pairs from photographs in scikit-image's wheel: nothing to download, free to use."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import NamedTuple

from esrgan_jax.data.pairs import Pair, paired
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.rgb_files import read_rgb


class Photo(NamedTuple):
    """A file in `skimage/data`, with the author and the terms that scikit-image's documentation states."""

    file: str
    author: str
    licence: str


# The terms are those of `skimage/data/_fetchers.py`. Two colour photos are left out, because it does not state that
# they are free: motorcycle_left.png and motorcycle_right.png (Middlebury 2014).
PHOTOS = {
    "train": (
        Photo("astronaut.png", "NASA", "public domain"),
        Photo("coffee.png", "Rachel Michetti, courtesy of Pikolo Espresso Bar", "CC0"),
        Photo("rocket.jpg", "SpaceX", "public domain"),
        Photo("hubble_deep_field.jpg", "NASA, HubbleSite", "public domain"),
        Photo("retina.jpg", "Mikael Häggström", "CC0 1.0"),
        Photo(
            "ihc.png", "Center for Microscopy And Molecular Imaging (CMMI)", "no known copyright restrictions"
        ),
    ),
    "validation": (Photo("chelsea.png", "Stefan van der Walt", "CC0"),),
}


class SampleSource:
    """The embedded photographs as pairs, all in memory (20 MB); LR is MATLAB's bicubic.

    Six photos to train on, one held out; `PHOTOS` names their authors and licences. Items are
    {"lr": uint8 [h, w, 3], "hr": uint8 [h * scale, w * scale, 3]}.

    Raises:
      DataError: the installed scikit-image no longer has one of the photos.
    """

    def __init__(self, split: str, scale: int):
        self._photos = PHOTOS[split]
        self._pairs: list[Pair] = []
        self._sizes: list[tuple[int, int]] = []
        for photo in self._photos:
            resource = importlib.resources.files("skimage") / "data" / photo.file
            if not resource.is_file():
                raise DataError(
                    f"The installed scikit-image does not ship the photo {photo.file}: install "
                    "scikit-image 0.26, or train on a folder of your own images."
                )
            with importlib.resources.as_file(resource) as path:
                image = read_rgb(Path(path))
            pair = paired(image, None, scale, photo.file)
            for array in pair.values():
                array.flags.writeable = False
            self._pairs.append(pair)
            self._sizes.append((image.shape[0], image.shape[1]))

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        return self._pairs[index]

    def name(self, index: int) -> str:
        """Return the photo's file name."""
        return self._photos[index].file

    def hr_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the photo before it is cropped to a multiple of the scale."""
        return self._sizes[index]
