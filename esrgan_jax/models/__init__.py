"""The networks of ESRGAN, as linen modules with the official parameter names."""

from esrgan_jax.models.rrdbnet import RRDBNet
from esrgan_jax.models.vgg_discriminator import VGGStyleDiscriminator
from esrgan_jax.models.vgg_features import VGGFeatureExtractor

__all__ = ["RRDBNet", "VGGFeatureExtractor", "VGGStyleDiscriminator"]
