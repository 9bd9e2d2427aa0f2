"""Small zip files as DIV2K is published: the same names and folders, pictures from scikit-image's photographs."""

from __future__ import annotations

import importlib.resources
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

# Of each picture: photo, top, left, height, width. Not all are multiples of 4.
PICTURES = {
    "train": {
        "0001": ("astronaut.png", 0, 100, 200, 264),
        "0002": ("coffee.png", 100, 200, 203, 197),
        "0003": ("astronaut.png", 300, 0, 196, 250),
        "0004": ("coffee.png", 0, 0, 120, 330),
    },
    "valid": {"0801": ("chelsea.png", 20, 60, 160, 226)},
}
FILES = {
    ("train", "hr"): "DIV2K_train_HR.zip",
    ("valid", "hr"): "DIV2K_valid_HR.zip",
    ("train", "lr"): "DIV2K_train_LR_bicubic_X4.zip",
    ("valid", "lr"): "DIV2K_valid_LR_bicubic_X4.zip",
}


def photo(name: str) -> np.ndarray:
    with importlib.resources.as_file(importlib.resources.files("skimage") / "data" / name) as path:
        return np.array(Image.open(path).convert("RGB"))


def hr(part: str, number: str) -> np.ndarray:
    name, top, left, height, width = PICTURES[part][number]
    return photo(name)[top : top + height, left : left + width]


def lr(part: str, number: str) -> np.ndarray:
    """Shrunk by Pillow, not by us: what is prepared shows whose it is. Sizes are rounded up, as MATLAB does."""
    image = hr(part, number)
    size = (-(-image.shape[1] // 4), -(-image.shape[0] // 4))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_zips(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for (part, kind), file in FILES.items():
        inside = f"DIV2K_{part}_HR" if kind == "hr" else f"DIV2K_{part}_LR_bicubic/X4"
        with zipfile.ZipFile(folder / file, "w") as archive:
            archive.writestr(f"{inside}/", b"")
            for number in PICTURES[part]:
                image, suffix = (hr(part, number), "") if kind == "hr" else (lr(part, number), "x4")
                archive.writestr(f"{inside}/{number}{suffix}.png", png(image))
