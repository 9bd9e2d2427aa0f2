"""Which network does a state dict describe? Its dialect from the names, its sizes from the arrays' shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import flax.linen as nn
import numpy as np

from esrgan_jax.errors import WeightFileError
from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator
from esrgan_jax.models.rrdbnet import SCALES, UNSHUFFLE_FACTORS
from esrgan_jax.models.vgg_features import CONVS_PER_STAGE, layer_names
from esrgan_jax.weights.convert import state_dict_shapes
from esrgan_jax.weights.dialects import DIALECTS, Dialect
from esrgan_jax.weights.state_dicts import StateDict

ARCHITECTURES = ("RRDBNet", "VGGStyleDiscriminator", *CONVS_PER_STAGE)
KINDS = {"RRDBNet": "a generator", "VGGStyleDiscriminator": "a discriminator", "VGG": "a VGG network"}
MAX_WIDTH = 65_536


@dataclass(frozen=True)
class RecognisedNetwork:
    """A state dict that has been understood.

    Attributes:
      dialect: new, middle, old or ESRGAN+ (a generator), BasicSR (a discriminator), torchvision (VGG).
      module: the network it belongs to.
      state_dict: its arrays under their official names, shapes as in PyTorch.
    """

    dialect: str
    module: nn.Module
    state_dict: StateDict


def recognise(
    state_dict: StateDict, source: str, arch: str | None = None, scale: int | None = None
) -> RecognisedNetwork:
    """The network that a state dict describes.

    Args:
      state_dict: arrays by their names, without wrapper and prefix.
      source: what to call it in an error message.
      arch: one of ARCHITECTURES: what is needed, or what a file is that could be several.
      scale: what the generator does to a picture's size. Without it, one upsampling means 2, although it
        could be 3; with two, 4 times as many input as output channels mean 2, and 16 times as many 1 (pixel
        unshuffle).

    Raises:
      WeightFileError: it is no network of this project; names the nearest dialect and the first names that
        differ.
    """
    dialect = max(DIALECTS, key=lambda dialect: dialect.fit(state_dict))
    known, similar = dialect.fit(state_dict)
    wanted = "VGG" if arch in CONVS_PER_STAGE else arch or dialect.network
    if known and wanted != dialect.network:
        raise WeightFileError(f"{source} is {KINDS[dialect.network]}: {KINDS[wanted]} is needed here.")
    if not (known or similar):
        raise WeightFileError(
            f"{source} holds none of the networks that are known here, ESRGAN's generators, discriminators "
            f"and VGG: its arrays are called {_first_names(state_dict)}."
        )
    official = {dialect.official(name) or name: array for name, array in state_dict.items()}
    name = dialect.name
    module: nn.Module
    if dialect.network == "RRDBNet":
        module = _generator(official, source, scale)
        if module.conv1x1 and name == "old":
            name = "ESRGAN+"
    elif dialect.network == "VGGStyleDiscriminator":
        module = _discriminator(official)
        for key in [key for key in official if key.endswith(".running_var")]:
            # Torch before 0.4.1 did not count batches.
            official.setdefault(key.replace("running_var", "num_batches_tracked"), np.zeros((), np.int64))
    else:
        official = {key: array for key, array in official.items() if not key.startswith("classifier.")}
        module = _vgg(official, source, arch)
    _check_names(official, module, dialect, source)
    return RecognisedNetwork(name, module, official)


def _check_names(official: StateDict, module: nn.Module, dialect: Dialect, source: str) -> None:
    expected = state_dict_shapes(module)
    blocks = getattr(module, "num_block", 0)
    missing = [dialect.here(name, blocks) for name in expected if name not in official]
    unexpected = [dialect.here(name, blocks) for name in official if name not in expected]
    differences = [
        f"{names[0][:80]}{f' and {len(names) - 1} more' * (len(names) > 1)} {verdict}"
        for names, verdict in ((missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    if differences:
        raise WeightFileError(
            f"{source} holds no network that is known here: nearest is {dialect.network} in the "
            f"{dialect.name} dialect, with {', '.join(differences)}."
        )


def _first_names(names: Iterable[str]) -> str:
    first, *others = list(names)[:4]
    return ", ".join([first[:60], *(name[:60] for name in others[:2])]) + ", ..." * (len(others) > 2)


def _size(state_dict: StateDict, name: str, axis: int, default: int) -> int:
    """A width read off an array; an absent array is reported later, by name."""
    array = state_dict.get(name)
    if array is None or array.ndim <= axis:
        return default
    return min(max(array.shape[axis], 1), MAX_WIDTH)


def _generator(state_dict: StateDict, source: str, scale: int | None) -> RRDBNet:
    layers = {name.rpartition(".")[0] for name in state_dict}
    num_upsample = sum(layer.startswith("conv_up") for layer in layers)
    inputs = _size(state_dict, "conv_first.weight", 1, 3)
    outputs = _size(state_dict, "conv_last.weight", 0, 3)
    if num_upsample not in SCALES:
        raise WeightFileError(f"{source} enlarges {num_upsample} times: 0 to {max(SCALES)} are known here.")
    if scale is None:
        unshuffled = {outputs * factor**2: scale for scale, factor in UNSHUFFLE_FACTORS.items()}
        scale = unshuffled.get(inputs, 4) if num_upsample == 2 else SCALES[num_upsample][0]
    factor = UNSHUFFLE_FACTORS.get(scale, 1) if num_upsample == 2 else 1
    if scale not in SCALES[num_upsample] or inputs % factor**2:
        fitting = [
            s for s in SCALES[num_upsample] if num_upsample != 2 or inputs % UNSHUFFLE_FACTORS[s] ** 2 == 0
        ]
        raise WeightFileError(
            f"{source} is no network of scale {scale}: with {num_upsample} upsamplings and {inputs} input "
            f"channels it can be {' or '.join(map(str, fitting))}."
        )
    return RRDBNet(
        scale=scale,
        num_feat=_size(state_dict, "conv_first.weight", 0, 64),
        num_block=max(1, len({layer.split(".")[1] for layer in layers if layer.startswith("body.")})),
        num_grow_ch=_size(state_dict, "body.0.rdb1.conv1.weight", 0, 32),
        num_in_ch=inputs // factor**2,
        num_out_ch=outputs,
        num_upsample=num_upsample,
        conv1x1=any(layer.endswith(".conv1x1") for layer in layers),
    )


def _discriminator(state_dict: StateDict) -> VGGStyleDiscriminator:
    return VGGStyleDiscriminator(
        num_in_ch=_size(state_dict, "conv0_0.weight", 1, 3),
        num_feat=_size(state_dict, "conv0_0.weight", 0, 64),
        input_size=256 if "conv5_0.weight" in state_dict else 128,
    )


def _vgg(state_dict: StateDict, source: str, arch: str | None) -> VGGFeatureExtractor:
    present = {name.split(".")[1] for name in state_dict if name.startswith("features.")}
    fitting = {}
    for vgg_type in CONVS_PER_STAGE:
        convs = {str(i): name for i, name in enumerate(layer_names(vgg_type)) if name.startswith("conv")}
        if list(convs)[: len(present)] == sorted(present, key=int):
            fitting[vgg_type] = list(convs.values())[len(present) - 1]
    complete = [vgg_type for vgg_type, last in fitting.items() if last == layer_names(vgg_type)[-3]]
    if arch and arch in fitting:
        return VGGFeatureExtractor(arch, (fitting[arch],))
    if arch or not fitting:
        raise WeightFileError(
            f"{source} is {' or '.join(fitting) or 'an unknown VGG network'}: "
            f"{arch or 'one of ' + ', '.join(CONVS_PER_STAGE)} is needed here."
        )
    if len(fitting) > 1 and len(complete) != 1:
        raise WeightFileError(
            f"{source} holds the first layers of a VGG network, which {' and '.join(fitting)} share: say "
            "which it is (--arch)."
        )
    vgg_type = (complete or list(fitting))[0]
    return VGGFeatureExtractor(vgg_type, (fitting[vgg_type],))
