"""Upscaling: networks applied to pictures of any size and kind."""

from esrgan_jax.inference.chain import Chain
from esrgan_jax.inference.upscaler import Upscaler

__all__ = ["Chain", "Upscaler"]
