"""Networks at work: a picture in, a larger picture out."""

from esrgan_jax.inference.chain import Chain
from esrgan_jax.inference.upscaler import Upscaler

__all__ = ["Chain", "Upscaler"]
