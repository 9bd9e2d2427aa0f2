"""Networks as files that other programs read: .pth as BasicSR writes it, .safetensors, and run folders."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from esrgan_jax.errors import ConfigError, WeightFileError
from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator
from esrgan_jax.weights.convert import from_state_dict, state_dict_shapes, to_state_dict
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.layouts import RecognisedNetwork
from esrgan_jax.weights.state_dicts import StateDict

FIELDS = {
    RRDBNet: (
        "scale",
        "num_feat",
        "num_block",
        "num_grow_ch",
        "num_in_ch",
        "num_out_ch",
        "num_upsample",
        "conv1x1",
    ),
    VGGStyleDiscriminator: ("num_in_ch", "num_feat", "input_size"),
    VGGFeatureExtractor: (),
}
"""What belongs to the weights; the other fields say how a network is run or trained."""


def save_generator(path: str | os.PathLike, module: RRDBNet, params: Any, ema: Any) -> None:
    """Writes {params, params_ema} as BasicSR does (`net_g_<iteration>.pth`), whole or not at all.

    Args:
      path: ends in .pth.
      module: the generator.
      params: linen parameters, arrays on the host or on devices.
      ema: their moving average.

    Raises:
      WeightFileError: the file cannot be written.
    """
    tree = {
        role: _in_torch_order(module, to_state_dict({"params": values}))
        for role, values in (("params", params), ("params_ema", ema))
    }
    containers.write(path, tree)


def save_discriminator(path: str | os.PathLike, module: VGGStyleDiscriminator, variables: Any) -> None:
    """Writes {params} as BasicSR does (`net_d_<iteration>.pth`), running statistics included.

    Args:
      path: ends in .pth.
      module: the discriminator.
      variables: {"params", "batch_stats"}.

    Raises:
      WeightFileError: the file cannot be written.
    """
    containers.write(path, {"params": _in_torch_order(module, to_state_dict(variables))})


def save_networks(path: str | os.PathLike, networks: dict[str, RecognisedNetwork]) -> None:
    """Writes one network, or a generator's two versions, as what the name of `path` says.

    Args:
      path: ends in .pth or .safetensors, or has no suffix: then a run folder is made, which holds one
        checkpoint.
      networks: by role: params, params_ema. A .safetensors file takes only one of them: params_ema if there
        is one.

    Raises:
      ConfigError: the suffix is another one.
      WeightFileError: it cannot be written.
    """
    path = Path(path)
    check_destination(path)
    chosen = networks.get("params_ema") or next(iter(networks.values()))
    if path.suffix == ".pth":
        tree: dict[str, Any] = {role: _official(network) for role, network in networks.items()}
        # torchvision's files have no wrapper.
        containers.write(path, _official(chosen) if isinstance(chosen.module, VGGFeatureExtractor) else tree)
    elif path.suffix == ".safetensors":
        containers.write(path, _official(chosen), {"format": "pt"} | metadata(chosen.module))
    else:
        _write_run_folder(path, networks)


def check_destination(path: Path) -> None:
    """Whether the name of a file to be written says what it is to be.

    Raises:
      ConfigError: it does not.
    """
    if path.suffix not in (*containers.SUFFIXES, ""):
        raise ConfigError(
            f"{path} ends in neither {' nor '.join(containers.SUFFIXES)}: choose one of them, or a name "
            "without a suffix for a run folder."
        )


def metadata(module: nn.Module) -> dict[str, str]:
    """The architecture and its fields, as text."""
    return {"architecture": architecture_name(module)} | {
        name: str(value) for name, value in architecture_fields(module).items()
    }


def architecture_name(module: nn.Module) -> str:
    """RRDBNet, VGGStyleDiscriminator or vgg19 and its kin."""
    return module.vgg_type if isinstance(module, VGGFeatureExtractor) else type(module).__name__


def architecture_fields(module: nn.Module) -> dict[str, Any]:
    """The fields of a network that its weights depend on."""
    return {name: getattr(module, name) for name in FIELDS[type(module)]}


def cast(network: RecognisedNetwork, dtype: np.dtype, source: str) -> RecognisedNetwork:
    """The same network with its floating-point arrays in another dtype, rounded to nearest.

    Raises:
      WeightFileError: a value is beyond what the dtype can hold.
    """
    arrays: StateDict = {}
    for name, array in network.state_dict.items():
        arrays[name] = array
        if array.dtype.kind not in "iub":
            with np.errstate(over="ignore"):
                arrays[name] = array.astype(dtype)
            if np.isfinite(array).all() and not np.isfinite(arrays[name]).all():
                raise WeightFileError(
                    f"{source} has values in {name} that {dtype} cannot hold: choose bfloat16."
                )
    return dataclasses.replace(network, state_dict=arrays)


def interpolate(a: RecognisedNetwork, b: RecognisedNetwork, alpha: float) -> RecognisedNetwork:
    """(1 - alpha) * a + alpha * b, computed at least in float32, in the dtypes of `a`.

    Source: Wang et al. 2018, section 3.4; the two are networks of one architecture.
    """

    def mix(x: Any, y: Any) -> np.ndarray:
        wide = np.float64 if np.float64 in (x.dtype, y.dtype) else np.float32
        return ((1 - alpha) * x.astype(wide) + alpha * y.astype(wide)).astype(x.dtype)

    arrays = {name: mix(array, b.state_dict[name]) for name, array in a.state_dict.items()}
    return dataclasses.replace(a, state_dict=arrays)


def _official(network: RecognisedNetwork) -> StateDict:
    return _in_torch_order(network.module, network.state_dict)


def _in_torch_order(module: nn.Module, state_dict: StateDict) -> StateDict:
    return {name: state_dict[name] for name in state_dict_shapes(module)}


def _write_run_folder(path: Path, networks: dict[str, RecognisedNetwork]) -> None:
    from esrgan_jax.runs.folder import write_generator

    network = next(iter(networks.values()))
    if not isinstance(network.module, RRDBNet):
        raise WeightFileError(
            f"{path} cannot be written: run folders hold generators; choose .pth or .safetensors."
        )
    trees = {
        role: from_state_dict(network.module, network.state_dict)["params"]
        for role, network in networks.items()
    }
    params = trees.get("params") or trees["params_ema"]
    config = architecture_fields(network.module)
    write_generator(
        path, {"scale": config.pop("scale"), "network_g": config}, params, trees.get("params_ema") or params
    )
