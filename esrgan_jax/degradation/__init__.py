"""The degradation of Real-ESRGAN on the devices: realistic LR pictures, drawn anew for each sample."""

from esrgan_jax.degradation.degrade import Degraded, degrade, make_prepare
from esrgan_jax.degradation.options import DegradationOptions

__all__ = ["DegradationOptions", "Degraded", "degrade", "make_prepare"]
