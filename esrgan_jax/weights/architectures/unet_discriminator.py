"""UNetDiscriminatorSN in weight files: the names of torch's spectral norm, as a hook and as a parametrization."""

from esrgan_jax.models.unet_discriminator import UNetDiscriminatorSN
from esrgan_jax.weights.architectures.architecture import (
    Architecture,
    Dialect,
    Hints,
    StateDict,
    official_dialect,
    size,
)


def _infer(state_dict: StateDict, hints: Hints) -> UNetDiscriminatorSN:
    return UNetDiscriminatorSN(
        num_in_ch=size(state_dict, "conv0.weight", 1, 3), num_feat=size(state_dict, "conv0.weight", 0, 64)
    )


ENTRY = Architecture(
    name="UNetDiscriminatorSN",
    role="discriminator",
    module=UNetDiscriminatorSN,
    dialects=(
        official_dialect(
            "BasicSR", "conv0", "conv{i}.weight_orig", "conv{i}.weight_u", "conv{i}.weight_v", "conv9"
        ),
        Dialect(
            "parametrized",
            {
                "conv0": "conv0",
                "conv{i}.weight_orig": "conv{i}.parametrizations.weight.original",
                "conv{i}.weight_u": "conv{i}.parametrizations.weight.0._u",
                "conv{i}.weight_v": "conv{i}.parametrizations.weight.0._v",
                "conv9": "conv9",
            },
        ),
    ),
    infer=_infer,
    fields=("num_in_ch", "num_feat", "skip_connection"),
)
