"""The networks of ESRGAN and Real-ESRGAN, as linen modules with the official parameter names."""

from esrgan_jax.models.rrdbnet import RRDBNet
from esrgan_jax.models.srvgg import SRVGGNetCompact
from esrgan_jax.models.unet_discriminator import UNetDiscriminatorSN
from esrgan_jax.models.vgg_discriminator import VGGStyleDiscriminator
from esrgan_jax.models.vgg_features import VGGFeatureExtractor

__all__ = [
    "RRDBNet",
    "SRVGGNetCompact",
    "UNetDiscriminatorSN",
    "VGGFeatureExtractor",
    "VGGStyleDiscriminator",
]
