"""The architectures known here: one file per entry, and this list of them."""

from esrgan_jax.weights.architectures import foreign, rrdbnet, vgg_discriminator, vgg_features
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

for _entry in (rrdbnet.ENTRY, vgg_discriminator.ENTRY, vgg_features.ENTRY):
    register(_entry)

UNTYPED = rrdbnet.ENTRY
"""The generator of run folders whose configuration is older than `network_g.type`."""


def recognisable() -> list[Architecture | foreign.Foreign]:
    """Return every architecture that can be told from the names in a file, those that cannot be run included."""
    return [*dict.fromkeys(ARCHITECTURES.values()), *foreign.FOREIGN]


__all__ = [
    "ARCHITECTURES",
    "UNTYPED",
    "Architecture",
    "Dialect",
    "Hints",
    "entry_of",
    "official_dialect",
    "recognisable",
    "register",
    "size",
]
