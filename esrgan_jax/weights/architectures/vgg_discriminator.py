"""VGGStyleDiscriminator in weight files: BasicSR's names."""

import numpy as np

from esrgan_jax.models import VGGStyleDiscriminator
from esrgan_jax.weights.architectures.architecture import (
    Architecture,
    Hints,
    StateDict,
    official_dialect,
    size,
)

LINEAR1_PIXELS = 16
"""Of the last feature map, 4 x 4: PyTorch flattens it channels first, we flatten it channels last."""


def _infer(state_dict: StateDict, hints: Hints) -> VGGStyleDiscriminator:
    return VGGStyleDiscriminator(
        num_in_ch=size(state_dict, "conv0_0.weight", 1, 3),
        num_feat=size(state_dict, "conv0_0.weight", 0, 64),
        input_size=256 if "conv5_0.weight" in state_dict else 128,
    )


def _complete(state_dict: StateDict) -> StateDict:
    """Add the counters of batches, which torch before 0.4.1 did not keep."""
    counters = [
        name.replace("running_var", "num_batches_tracked")
        for name in state_dict
        if name.endswith(".running_var")
    ]
    return {name: np.zeros((), np.int64) for name in counters} | state_dict


def _to_torch(name: str, value: np.ndarray) -> np.ndarray | None:
    if name != "linear1.weight":
        return None
    channels = value.shape[0] // LINEAR1_PIXELS
    return value.reshape(LINEAR1_PIXELS, channels, -1).swapaxes(0, 1).reshape(value.shape).T


def _from_torch(name: str, value: np.ndarray) -> np.ndarray | None:
    if name != "linear1.weight":
        return None
    channels = value.shape[1] // LINEAR1_PIXELS
    return value.T.reshape(channels, LINEAR1_PIXELS, -1).swapaxes(0, 1).reshape(value.T.shape)


ENTRY = Architecture(
    name="VGGStyleDiscriminator",
    role="discriminator",
    module=VGGStyleDiscriminator,
    dialects=(official_dialect("BasicSR", "conv{i}_{j}", "bn{i}_{j}", "linear{k}"),),
    infer=_infer,
    fields=("num_in_ch", "num_feat", "input_size"),
    complete=_complete,
    to_torch=_to_torch,
    from_torch=_from_torch,
)
