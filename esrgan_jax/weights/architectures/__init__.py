"""The architectures known here: one file per entry, and this list of them."""

from esrgan_jax.weights.architectures import (
    rrdbnet,
    srvgg,
    unet_discriminator,
    vgg_discriminator,
    vgg_features,
)
from esrgan_jax.weights.architectures.architecture import (
    ARCHITECTURES,
    Architecture,
    Dialect,
    Hints,
    entry_of,
    official_dialect,
    register,
    size,
)

for _entry in (
    rrdbnet.ENTRY,
    srvgg.ENTRY,
    vgg_discriminator.ENTRY,
    unet_discriminator.ENTRY,
    vgg_features.ENTRY,
):
    register(_entry)

UNTYPED = rrdbnet.ENTRY
"""The generator of run folders whose configuration is older than `network_g.type`."""


__all__ = [
    "ARCHITECTURES",
    "UNTYPED",
    "Architecture",
    "Dialect",
    "Hints",
    "entry_of",
    "official_dialect",
    "register",
    "size",
]
