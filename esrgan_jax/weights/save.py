"""Networks as files that other programs read: .pth as BasicSR writes it, .safetensors, and run folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from esrgan_jax.errors import ConfigError, WeightFileError
from esrgan_jax.weights.architectures import entry_of
from esrgan_jax.weights.convert import from_state_dict, state_dict_shapes, to_state_dict
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.network import RecognisedNetwork, architecture_fields, architecture_name, metadata
from esrgan_jax.weights.state_dicts import StateDict


def save_generator(path: str | os.PathLike, module: Any, params: Any, ema: Any) -> None:
    """Write {params, params_ema} as BasicSR does (`net_g_<iteration>.pth`), whole or not at all.

    Args:
      path: ends in .pth.
      module: the generator.
      params: linen parameters, arrays on the host or on devices.
      ema: their moving average.

    Raises:
      WeightFileError: the file cannot be written.
    """
    tree = {
        role: _as_others_know_it(module, to_state_dict(module, {"params": values}))
        for role, values in (("params", params), ("params_ema", ema))
    }
    containers.write(path, tree)


def save_discriminator(path: str | os.PathLike, module: Any, variables: Any) -> None:
    """Write {params} as BasicSR does (`net_d_<iteration>.pth`): all collections, as running statistics.

    Args:
      path: ends in .pth.
      module: the discriminator.
      variables: {"params", ...}, every collection that it has.

    Raises:
      WeightFileError: the file cannot be written.
    """
    containers.write(path, {"params": _as_others_know_it(module, to_state_dict(module, variables))})


def save_networks(path: str | os.PathLike, networks: dict[str, RecognisedNetwork]) -> None:
    """Write one network, or a generator's params and params_ema; the suffix of `path` chooses the format.

    Args:
      path: ends in .pth or .safetensors, or has no suffix: then it becomes a run folder with one checkpoint.
      networks: {"params" or "params_ema": network}. A .safetensors file contains one of them: params_ema if given.

    Raises:
      ConfigError: the suffix is another one.
      WeightFileError: it cannot be written.
    """
    path = Path(path)
    check_destination(path)
    chosen = networks.get("params_ema") or next(iter(networks.values()))
    if path.suffix == ".pth":
        tree: dict[str, Any] = {role: _official(network) for role, network in networks.items()}
        # torchvision's files have no wrapper
        containers.write(path, _official(chosen) if entry_of(chosen.module).role == "features" else tree)
    elif path.suffix == ".safetensors":
        containers.write(path, _official(chosen), {"format": "pt"} | metadata(chosen.module))
    else:
        _write_run_folder(path, networks)


def check_destination(path: Path) -> None:
    """Check that the suffix of a file to be written is a known one.

    Raises:
      ConfigError: it is not.
    """
    if path.suffix not in (*containers.SUFFIXES, ""):
        raise ConfigError(
            f"{path} ends in neither {' nor '.join(containers.SUFFIXES)}: choose one of them, or no suffix for a "
            "run folder."
        )


def _official(network: RecognisedNetwork) -> StateDict:
    return _as_others_know_it(network.module, network.state_dict)


def _as_others_know_it(module: Any, state_dict: StateDict) -> StateDict:
    """Arrays in PyTorch's order, under the names that other programs know."""
    dialect = entry_of(module).dialect_of(module)
    return {
        dialect.local_name(name, module) if dialect else name: state_dict[name]
        for name in state_dict_shapes(module)
    }


def _write_run_folder(path: Path, networks: dict[str, RecognisedNetwork]) -> None:
    from esrgan_jax.runs.folder import write_generator

    module: Any = next(iter(networks.values())).module
    if entry_of(module).role != "generator":
        raise WeightFileError(
            f"{path} cannot be written: run folders contain generators; choose .pth or .safetensors."
        )
    trees = {
        role: from_state_dict(network.module, network.state_dict)["params"]
        for role, network in networks.items()
    }
    params = trees.get("params") or trees["params_ema"]
    fields = {"type": architecture_name(module), **architecture_fields(module)}
    config = {"scale": fields.pop("scale", module.scale), "network_g": fields}
    write_generator(path, config, params, trees.get("params_ema") or params)
