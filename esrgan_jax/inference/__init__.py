"""Upscaling: networks applied to pictures of any size and kind."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esrgan_jax.inference.chain import Chain
    from esrgan_jax.inference.upscaler import Upscaler

__all__ = ["Chain", "Upscaler"]


def __getattr__(name: str) -> Any:
    # Imported on first use: planning which files to upscale needs no JAX.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{name.lower()}"), name)
