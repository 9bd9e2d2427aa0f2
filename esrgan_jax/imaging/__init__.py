"""Pictures as arrays: read, write, convert, resize. RGB, [H, W, C], uint8 or floats in [0, 1]."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esrgan_jax.imaging.color import rgb_to_y, to_float, to_uint8
    from esrgan_jax.imaging.kinds import IMAGE_SUFFIXES
    from esrgan_jax.imaging.resize import imresize
    from esrgan_jax.imaging.rgb_files import image_size, read_rgb, write_png
    from esrgan_jax.imaging.search import find_images

__all__ = [
    "IMAGE_SUFFIXES",
    "find_images",
    "image_size",
    "imresize",
    "read_rgb",
    "rgb_to_y",
    "to_float",
    "to_uint8",
    "write_png",
]

_HOMES = {"IMAGE_SUFFIXES": "kinds", "find_images": "search", "imresize": "resize"} | dict.fromkeys(
    ("rgb_to_y", "to_float", "to_uint8"), "color"
)


def __getattr__(name: str) -> Any:
    # Imported on first use: conversions of colour must not load OpenCV and Pillow.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'rgb_files')}"), name)
