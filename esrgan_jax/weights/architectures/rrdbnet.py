"""RRDBNet in weight files: BasicSR's names, those of ESRGAN's test code, and those of 2018."""

from esrgan_jax.errors import WeightFileError
from esrgan_jax.models import RRDBNet
from esrgan_jax.models.rrdbnet import SCALES, UNSHUFFLE_FACTORS
from esrgan_jax.weights.architectures.architecture import (
    Architecture,
    Dialect,
    Hints,
    StateDict,
    official_dialect,
    size,
)

NEW = official_dialect(
    "new",
    "conv_first",
    "body.{i}.rdb{j}.conv{k}",
    "body.{i}.rdb{j}.conv1x1",
    "conv_body",
    "conv_up{n}",
    "conv_hr",
    "conv_last",
)
MIDDLE = Dialect(
    "middle",
    {
        "conv_first": "conv_first",
        "body.{i}.rdb{j}.conv{k}": "RRDB_trunk.{i}.RDB{j}.conv{k}",
        "body.{i}.rdb{j}.conv1x1": "RRDB_trunk.{i}.RDB{j}.conv1x1",
        "conv_body": "trunk_conv",
        "conv_up{n}": "upconv{n}",
        "conv_hr": "HRconv",
        "conv_last": "conv_last",
    },
)


def _old(num_upsample: int) -> dict[str, str]:
    """The names of 2018: nn.Sequential numbers all layers, activations and upsamplings included."""
    return {
        "conv_first": "model.0",
        "body.{i}.rdb{j}.conv{k}": "model.1.sub.{i}.RDB{j}.conv{k}.0",
        "conv_body": "model.1.sub.{num_block}",
        **{f"conv_up{n}": f"model.{3 * n}" for n in range(1, num_upsample + 1)},
        "conv_hr": f"model.{3 * num_upsample + 2}",
        "conv_last": f"model.{3 * num_upsample + 4}",
    }


LARGEST = max(SCALES) + 1
"""num_upsample of the largest network that is recognised, so that it is named: it is not known here."""

PLUS = {"body.{i}.rdb{j}.conv1x1": "model.1.sub.{i}.RDB{j}.conv1x1"}


def _infer(state_dict: StateDict, hints: Hints) -> RRDBNet:
    """The sizes of a generator.

    Without a scale, one upsampling means 2, although it could be 3; with two, 4 times as many input as output
    channels mean 2, and 16 times as many 1 (pixel unshuffle).
    """
    layers = {name.rpartition(".")[0] for name in state_dict}
    num_upsample = sum(layer.startswith("conv_up") for layer in layers)
    inputs = size(state_dict, "conv_first.weight", 1, 3)
    outputs = size(state_dict, "conv_last.weight", 0, 3)
    if num_upsample not in SCALES:
        raise WeightFileError(
            f"{hints.source} enlarges {2**num_upsample} times: networks up to scale {2 ** max(SCALES)} can be run "
            f"here, not scale {2**num_upsample}. Take another model."
        )
    scale = hints.scale
    if scale is None:
        unshuffled = {outputs * factor**2: scale for scale, factor in UNSHUFFLE_FACTORS.items()}
        scale = unshuffled.get(inputs, 4) if num_upsample == 2 else SCALES[num_upsample][0]
    factor = UNSHUFFLE_FACTORS.get(scale, 1) if num_upsample == 2 else 1
    if scale not in SCALES[num_upsample] or inputs % factor**2:
        fitting = [
            s for s in SCALES[num_upsample] if num_upsample != 2 or inputs % UNSHUFFLE_FACTORS[s] ** 2 == 0
        ]
        raise WeightFileError(
            f"{hints.source} is no network of scale {scale}: with {num_upsample} upsamplings and {inputs} input "
            f"channels it can be {' or '.join(map(str, fitting))}."
        )
    return RRDBNet(
        scale=scale,
        num_feat=size(state_dict, "conv_first.weight", 0, 64),
        num_block=max(1, len({layer.split(".")[1] for layer in layers if layer.startswith("body.")})),
        num_grow_ch=size(state_dict, "body.0.rdb1.conv1.weight", 0, 32),
        num_in_ch=inputs // factor**2,
        num_out_ch=outputs,
        num_upsample=num_upsample,
        conv1x1=any(layer.endswith(".conv1x1") for layer in layers),
    )


ENTRY = Architecture(
    name="RRDBNet",
    role="generator",
    module=RRDBNet,
    dialects=(
        NEW,
        MIDDLE,
        *(Dialect("old", _old(num_upsample)) for num_upsample in range(LARGEST + 1)),
        *(Dialect("ESRGAN+", _old(num_upsample) | PLUS) for num_upsample in SCALES),
    ),
    infer=_infer,
    fields=(
        "scale",
        "num_feat",
        "num_block",
        "num_grow_ch",
        "num_in_ch",
        "num_out_ch",
        "num_upsample",
        "conv1x1",
    ),
    stacked="body",
    # ESRGAN+ never had other names; programs that know the new ones alone leave its 1x1 convolutions out.
    dialect_of=lambda module: (
        Dialect("ESRGAN+", _old(module.num_upsample) | PLUS) if module.conv1x1 else None
    ),
)
