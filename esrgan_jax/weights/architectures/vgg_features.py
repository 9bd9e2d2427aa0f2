"""VGG11, 13, 16 and 19 in weight files: torchvision's names."""

import re

from esrgan_jax.errors import WeightFileError
from esrgan_jax.models import VGGFeatureExtractor
from esrgan_jax.models.vgg_features import CONVS_PER_STAGE, layer_names
from esrgan_jax.weights.architectures.architecture import Architecture, Hints, StateDict, official_dialect


def _infer(state_dict: StateDict, hints: Hints) -> VGGFeatureExtractor:
    """The type, and the deepest layer that the file has."""
    matches = (re.fullmatch(r"features\.([0-9]+)\.[^.]+", name) for name in state_dict)
    present = sorted({match[1] for match in matches if match}, key=int)
    if not present:
        return VGGFeatureExtractor()
    fitting = {}
    for vgg_type in CONVS_PER_STAGE:
        convs = {str(i): name for i, name in enumerate(layer_names(vgg_type)) if name.startswith("conv")}
        if list(convs)[: len(present)] == present:
            fitting[vgg_type] = convs[present[-1]]
    complete = [vgg_type for vgg_type, last in fitting.items() if last == layer_names(vgg_type)[-3]]
    if hints.arch and hints.arch in fitting:
        return VGGFeatureExtractor(hints.arch, (fitting[hints.arch],))
    if hints.arch or not fitting:
        raise WeightFileError(
            f"{hints.source} is {' or '.join(fitting) or 'an unknown VGG network'}: "
            f"{hints.arch or 'one of ' + ', '.join(CONVS_PER_STAGE)} is needed here."
        )
    if len(fitting) > 1 and len(complete) != 1:
        raise WeightFileError(
            f"{hints.source} contains the first layers of a VGG network, which {' and '.join(fitting)} share: choose "
            "one with --arch."
        )
    vgg_type = (complete or list(fitting))[0]
    return VGGFeatureExtractor(vgg_type, (fitting[vgg_type],))


def _complete(state_dict: StateDict) -> StateDict:
    """Drop the classifier behind the features."""
    return {name: array for name, array in state_dict.items() if not name.startswith("classifier.")}


ENTRY = Architecture(
    name="VGG",
    role="features",
    module=VGGFeatureExtractor,
    dialects=(official_dialect("torchvision", "features.{i}"),),
    infer=_infer,
    complete=_complete,
    variants={vgg_type: {"vgg_type": vgg_type} for vgg_type in CONVS_PER_STAGE},
)
