"""SRVGGNetCompact in weight files: BasicSR's names."""

import math

from esrgan_jax.errors import WeightFileError
from esrgan_jax.models.srvgg import SRVGGNetCompact
from esrgan_jax.weights.architectures.architecture import (
    Architecture,
    Hints,
    StateDict,
    official_dialect,
    size,
)


def _infer(state_dict: StateDict, hints: Hints) -> SRVGGNetCompact:
    """The sizes of a generator.

    The last convolution makes scale x scale pixels of each colour. As many colours come out as go in; only grey can
    become RGB or RGBA, where no other number gives a whole scale. ReLU and LeakyReLU leave no trace in arrays:
    without slopes it is ReLU.
    """
    convs = [name for name, array in state_dict.items() if name.startswith("body.") and array.ndim == 4]
    num_conv = max(1, len(convs) - 2)
    inputs = size(state_dict, "body.0.weight", 1, 3)
    outputs = size(state_dict, f"body.{2 * num_conv + 2}.weight", 0, 48)
    possible = [(math.isqrt(outputs // c), c) for c in ((1, 3, 4) if inputs == 1 else (inputs,))]
    colours = {scale: c for scale, c in possible if scale**2 * c == outputs} or {4: inputs}
    scale = hints.scale or next(iter(colours))
    if scale not in colours:
        raise WeightFileError(
            f"{hints.source} is no network of scale {scale}: with {outputs} outputs of its last convolution it can "
            f"be {' or '.join(map(str, colours))}."
        )
    return SRVGGNetCompact(
        scale=scale,
        num_feat=size(state_dict, "body.0.weight", 0, 64),
        num_conv=num_conv,
        num_in_ch=inputs,
        num_out_ch=colours[scale],
        act_type="prelu" if "body.1.weight" in state_dict else "relu",
    )


ENTRY = Architecture(
    name="SRVGGNetCompact",
    role="generator",
    module=SRVGGNetCompact,
    dialects=(official_dialect("BasicSR", "body.{i}"),),
    infer=_infer,
    fields=("scale", "num_feat", "num_conv", "num_in_ch", "num_out_ch", "act_type"),
)
