"""Weight files, run folders and zoo names as networks ready to run or to train on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from esrgan_jax.errors import CheckpointError, ConfigError, WeightFileError
from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator
from esrgan_jax.weights import state_dicts
from esrgan_jax.weights.convert import from_state_dict, to_state_dict
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.layouts import ARCHITECTURES, RecognisedNetwork, recognise
from esrgan_jax.weights.zoo import ZOO, fetch_weights

PathOrName = str | os.PathLike[str]


@dataclass(frozen=True)
class WeightSource:
    """Where weights come from, opened.

    Attributes:
      path: of the file or run folder.
      container: run folder, zip .pth, legacy .pth, tar .pth, safetensors or npz.
      found: its state dicts.
      scale: what a generator's scale is, where the source says so.
    """

    path: Path
    container: str
    found: list[state_dicts.Found] = field(repr=False)
    scale: int | None = None

    def choose(self, key: str | None = None) -> state_dicts.Found:
        """One of the state dicts, see `wrappers.choose`."""
        return state_dicts.choose(self.found, key, str(self.path))

    def recognise(
        self, found: state_dicts.Found, arch: str | None = None, scale: int | None = None
    ) -> RecognisedNetwork:
        """The network that one of the state dicts describes, see `layouts.recognise`."""
        return recognise(found.state_dict, str(self.path), arch, scale or self.scale)

    def variables(self, network: RecognisedNetwork) -> Any:
        """A network's linen variables: numpy arrays, float16 and bfloat16 widened to float32, exactly.

        Raises:
          WeightFileError: the arrays do not fit, or are no floating-point numbers.
        """
        for name, array in network.state_dict.items():
            if array.dtype.kind in "iub" and not name.endswith("num_batches_tracked"):
                raise WeightFileError(
                    f"{self.path} has {name} in {array.dtype}: quantised weights cannot be used, take the "
                    "originals."
                )
        return jax.tree.map(_to_float32, from_state_dict(network.module, network.state_dict, str(self.path)))


def _to_float32(value: np.ndarray) -> np.ndarray:
    # bfloat16 is no kind of float to numpy.
    return value.astype(np.float32) if value.dtype.itemsize == 2 else value


def locate(path_or_name: PathOrName) -> Path:
    """The path of what exists, or of a zoo file, fetched if need be.

    Raises:
      WeightFileError: there is neither a file or folder nor a zoo file of that name, or it cannot be fetched.
    """
    path = Path(path_or_name)
    if path.exists():
        return path
    if str(path_or_name) in ZOO:
        return fetch_weights(str(path_or_name))
    raise WeightFileError(
        f"{path} does not exist: give a .pth or .safetensors file, a run folder, or a name of the zoo "
        f"({', '.join(ZOO)})."
    )


def check_architecture_name(arch: str | None) -> None:
    """Whether an architecture somebody named is one.

    Raises:
      ConfigError: it is not.
    """
    if arch not in (None, *ARCHITECTURES):
        raise ConfigError(f"--arch (={arch}) must be one of {', '.join(ARCHITECTURES)}.")


def open_weights(path_or_name: PathOrName) -> WeightSource:
    """Reads a file, a run folder's newest checkpoint, or a file of the zoo.

    Raises:
      WeightFileError: it does not exist or cannot be read.
    """
    path = locate(path_or_name)
    if path.is_dir():
        return _open_run_folder(path)
    contents = containers.read(path)
    found = state_dicts.find_state_dicts(contents.tree)
    scale = contents.metadata.get("scale", "")
    return WeightSource(
        path, contents.container, found, int(scale) if scale in ("1", "2", "3", "4", "8") else None
    )


def _open_run_folder(path: Path) -> WeightSource:
    from esrgan_jax.runs.folder import load_generator, read_config

    try:
        config = read_config(path) or {}
        params, ema = load_generator(path)
    except (CheckpointError, ConfigError) as error:
        raise WeightFileError(str(error)) from None
    found = [
        state_dicts.Found(role, role, to_state_dict({"params": tree}))
        for role, tree in (("params", params), ("params_ema", ema))
    ]
    return WeightSource(path, "run folder", found, config.get("scale"))


def load_model(
    path_or_name: PathOrName, *, key: str | None = None, scale: int | None = None
) -> tuple[RRDBNet, Any]:
    """A generator and its variables, ready for `module.apply(variables, pictures)`.

    `module` is an RRDBNet whose sizes and scale are those of the weights. `variables` is {"params": tree}:
    numpy arrays in float32 (float64 where the file has it), named as in PyTorch, convolutions HWIO, the
    trunk's blocks stacked along a leading axis. Pictures are NHWC, RGB, in [0, 1]; height and width are
    multiples of `module.unshuffle` (1 for scale 4).

    Args:
      path_or_name: a .pth or .safetensors file, a run folder, or a name of the zoo.
      key: `params` (as trained) or `params_ema` (their moving average), or a wrapper in the file; by default
        the average where there is one.
      scale: for files that leave it open: see `layouts.recognise`.

    Raises:
      WeightFileError: there is no such thing, it cannot be read or fetched, or it is no generator.
    """
    source = open_weights(path_or_name)
    network = source.recognise(source.choose(key), "RRDBNet", scale)
    return _generator(network.module), source.variables(network)


def load_generator_weights(path_or_name: PathOrName, key: str | None = None) -> tuple[RRDBNet, Any, Any]:
    """A generator to train on: (module, params, ema), params and ema being trees as in `load_model`.

    Training starts from `params` and its average from `params_ema`; a file that has only one of the two gives
    both (as the official trainer does). The two never share memory.

    Args:
      path_or_name: see `load_model`.
      key: what training starts from instead, as `params_ema`.

    Raises:
      WeightFileError: see `load_model`.
    """
    source = open_weights(path_or_name)
    roles = {found.role for found in source.found}
    params = source.recognise(source.choose(key or ("params" if "params" in roles else None)), "RRDBNet")
    ema = source.recognise(source.choose("params_ema" if "params_ema" in roles else None), "RRDBNet")
    if params.module != ema.module:
        raise WeightFileError(
            f"{source.path} holds params and params_ema of different networks: choose another file."
        )
    return (
        _generator(params.module),
        source.variables(params)["params"],
        source.variables(ema)["params"],
    )


def _generator(module: nn.Module) -> RRDBNet:
    assert isinstance(module, RRDBNet)  # what recognise(..., "RRDBNet") returns
    return module


def load_discriminator_weights(path_or_name: PathOrName) -> tuple[VGGStyleDiscriminator, Any]:
    """A discriminator and its variables {"params", "batch_stats"}, numpy arrays, running statistics included.

    Raises:
      WeightFileError: there is no such file, it cannot be read, or it is no discriminator.
    """
    source = open_weights(path_or_name)
    roles = {found.role for found in source.found}
    found = source.choose("discriminator" if "discriminator" in roles else "params")
    network = source.recognise(found, "VGGStyleDiscriminator")
    assert isinstance(network.module, VGGStyleDiscriminator)
    return network.module, source.variables(network)


def load_vgg(
    path_or_name: PathOrName,
    vgg_type: str = "vgg19",
    layers: Sequence[str] = ("conv5_4",),
    use_input_norm: bool = True,
    range_norm: bool = False,
) -> tuple[VGGFeatureExtractor, Any]:
    """A VGG feature extractor and its weights, from torchvision's file or one with its keys.

    float16 and bfloat16 come back as float32; float64 stays.

    Args:
      path_or_name: a .pth, .safetensors or .npz file, or "vgg19" for the zoo's.
      vgg_type: vgg11, vgg13, vgg16 or vgg19.
      layers: `convX_Y`, `reluX_Y` or `poolX`; weights behind the deepest one are left out.
      use_input_norm: subtract ImageNet's mean and divide by its standard deviation.
      range_norm: pictures are in [-1, 1] rather than [0, 1].

    Raises:
      WeightFileError: the file cannot be read or fetched, or holds another network.
    """
    source = open_weights(path_or_name)
    state_dict = source.recognise(source.choose(), vgg_type).state_dict
    module = VGGFeatureExtractor(vgg_type, tuple(layers), use_input_norm, range_norm)
    return module, source.variables(RecognisedNetwork("torchvision", module, state_dict))
