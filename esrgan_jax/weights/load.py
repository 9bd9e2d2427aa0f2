"""Weight files, run folders and published models as networks, ready to run or to train."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from esrgan_jax.errors import CheckpointError, ConfigError, WeightFileError
from esrgan_jax.weights import state_dicts
from esrgan_jax.weights.architectures import ARCHITECTURES, UNTYPED
from esrgan_jax.weights.architectures.architecture import Role, StateDict
from esrgan_jax.weights.convert import from_state_dict, state_dict_shapes, to_named_arrays
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.formats.archives import WEIGHT_SUFFIXES
from esrgan_jax.weights.network import RecognisedNetwork, interpolate, recognise
from esrgan_jax.weights.zoo import ZOO, fetch_weights, noisy_partner

PathOrName = str | os.PathLike[str]


@dataclass(frozen=True)
class WeightSource:
    """A file or run folder with weights, opened.

    Attributes:
      path: of the file or run folder.
      container: run folder, zip .pth, legacy .pth, tar .pth, safetensors or npz.
      found: its state dicts.
      left_out: names of Python objects in the file that are no weights; they were passed over, not run.
      scale: of the generator, if the file or folder names it.
      arch: architecture, if the folder names it.
      fields: of the network, as the folder names them; some cannot be inferred from arrays.
    """

    path: Path
    container: str
    found: list[state_dicts.Found] = field(repr=False)
    left_out: list[str] = field(default_factory=list)
    scale: int | None = None
    arch: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def choose(self, key: str | None = None, order: Sequence[str] = state_dicts.ROLES) -> state_dicts.Found:
        """Return one of the state dicts, see `state_dicts.choose`."""
        if self.left_out and not self.found:
            more = f" and {len(self.left_out) - 1} more" * (len(self.left_out) > 1)
            raise WeightFileError(
                f"{self.path} contains no weights: it asks for the Python object {self.left_out[0]}{more}, which "
                "weights do not need and which could run any code; load it where it comes from and save its "
                "state_dict alone."
            )
        return state_dicts.choose(self.found, key, str(self.path), order)

    def recognise(
        self,
        found: state_dicts.Found,
        arch: str | None = None,
        scale: int | None = None,
        role: Role | None = None,
    ) -> RecognisedNetwork:
        """Return the network that one of the state dicts describes, see `network.recognise`."""
        network = recognise(found.state_dict, str(self.path), arch or self.arch, scale or self.scale, role)
        return replace(network, module=network.module.clone(**self.fields)) if self.fields else network

    def variables(self, network: RecognisedNetwork) -> Any:
        """Return a network's linen variables: numpy arrays, float16 and bfloat16 widened to float32, exactly.

        Raises:
          WeightFileError: the arrays do not fit, are quantised, or hold NaN or infinity.
        """
        variables = from_state_dict(network.module, network.state_dict, str(self.path))
        variables = jax.tree.map(_to_float32, variables)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables)):
            raise WeightFileError(f"{self.path} holds {_not_finite(network.state_dict)}. Take another file.")
        return variables


def _not_finite(state_dict: StateDict) -> str:
    """Say where in a state dict there are NaN or infinity."""
    counts = {name: np.count_nonzero(~np.isfinite(_to_float32(array))) for name, array in state_dict.items()}
    broken = [name for name, count in counts.items() if count]
    values = f"{counts[broken[0]]} of {state_dict[broken[0]].size} values"
    others = f" and in {len(broken) - 1} more arrays" * (len(broken) > 1)
    return f"NaN or infinity in {broken[0]} ({values}){others}: the network was broken when it was saved"


def _to_float32(value: np.ndarray) -> np.ndarray:
    # To numpy, bfloat16 and float8 are no kinds of float.
    return value.astype(np.float32) if value.dtype.itemsize <= 2 and value.dtype.kind not in "iub" else value


def locate(path_or_name: PathOrName) -> Path:
    """Return the path of a file or folder, or of a published model, which is downloaded if necessary.

    Raises:
      WeightFileError: there is none of that name, or it cannot be downloaded.
    """
    path = Path(path_or_name)
    if path.exists():
        return path
    if str(path_or_name) in ZOO:
        return fetch_weights(str(path_or_name))
    raise WeightFileError(
        f"{path} does not exist. Give a .pth or .safetensors file, a run folder or a model name "
        "(`esrgan-jax models`)."
    )


def check_architecture_name(arch: str | None) -> None:
    """Check the name of an architecture that the user gave.

    Raises:
      ConfigError: it is unknown.
    """
    if arch not in (None, *ARCHITECTURES):
        raise ConfigError(f"--arch (={arch}) must be one of {', '.join(ARCHITECTURES)}.")


def open_weights(path_or_name: PathOrName) -> WeightSource:
    """Read a file, a run folder's newest checkpoint, or a published model.

    Raises:
      WeightFileError: it does not exist or cannot be read.
    """
    path = locate(path_or_name)
    if path.is_dir():
        return _open_run_folder(path)
    contents = containers.read(path)
    found = state_dicts.find_state_dicts(contents.tree)
    scale = contents.metadata.get("scale", "")
    named = int(scale) if scale in ("1", "2", "3", "4", "8") else None
    return WeightSource(path, contents.container, found, contents.left_out, named)


def _open_run_folder(path: Path) -> WeightSource:
    from esrgan_jax.runs.folder import load_generator, read_config

    try:
        config = read_config(path) or {}
        params, ema = load_generator(path)
    except (CheckpointError, ConfigError) as error:
        files = sorted(file.name for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES)
        names = ", ".join(files[:3]) + f" and {len(files) - 3} more" * (len(files) > 3)
        raise WeightFileError(
            f"{error} It holds weight files: name one ({names})." if files else str(error)
        ) from None
    named = dict(config.get("network_g", {}))
    arch = named.pop("type", None)
    if arch not in (None, *ARCHITECTURES):
        raise WeightFileError(
            f"{path} was trained with network_g.type={arch}, which must be one of {', '.join(ARCHITECTURES)}."
        )
    entry = UNTYPED if arch is None else ARCHITECTURES[arch]
    fields = {} if arch is None else {name: named[name] for name in entry.fields if name in named}
    found = [
        state_dicts.Found(role, role, to_named_arrays(entry, {"params": tree}))
        for role, tree in (("params", params), ("params_ema", ema))
    ]
    return WeightSource(path, "run folder", found, [], config.get("scale"), entry.names[0], fields)


def load_model(
    path_or_name: PathOrName,
    *,
    key: str | None = None,
    scale: int | None = None,
    denoise: float | None = None,
) -> tuple[Any, Any]:
    """Return a generator and its variables, ready for `module.apply(variables, pictures)`.

    `module` is a `models.network.Generator` whose sizes and scale are those of the weights. `variables` is
    {"params": tree}: numpy arrays in float32 (float64 if the file has it), named as in PyTorch, convolutions HWIO,
    the blocks of a trunk stacked along a leading axis. Pictures are NHWC, RGB, in [0, 1]; height and width
    are multiples of `module.unshuffle` (1 for scale 4).

    Args:
      path_or_name: a .pth or .safetensors file, a run folder, or the name of a published model.
      key: `params` (as trained) or `params_ema` (their moving average), or the key or prefix that the network lies
        under in the file; None: params_ema if the file has it.
      scale: for files whose arrays fit several scales.
      denoise: of realesr-general-x4v3: its share, 0 to 1, in a mean with realesr-general-wdn-x4v3, which keeps
        noise; None: it is not mixed.

    Raises:
      WeightFileError: the file does not exist, cannot be read or downloaded, or contains no generator.
      ConfigError: `denoise` is not between 0 and 1, or the model has no such partner.
    """
    share = 1 if denoise is None else denoise
    partner = None if denoise is None else noisy_partner(path_or_name, denoise)
    source = open_weights(path_or_name)
    network = source.recognise(source.choose(key), scale=scale, role="generator")
    if partner is not None and share != 1:
        noisy_source = open_weights(partner)
        noisy = noisy_source.recognise(noisy_source.choose(key), role="generator")
        if noisy.module != network.module:
            raise WeightFileError(
                f"{noisy_source.path} is another network than {source.path}: they cannot be mixed. Take both as they "
                "were published."
            )
        network = interpolate(noisy, network, share)
    return network.module, source.variables(network)


def load_generator_weights(path_or_name: PathOrName, key: str | None = None) -> tuple[Any, Any, Any]:
    """Return a generator to train: (module, params, ema), the last two trees as in `load_model`.

    Training starts from `params` and its average from `params_ema`; a file with only one of the two gives both, as in
    the official trainer. The two never share memory.

    Args:
      path_or_name: see `load_model`.
      key: what training starts from instead of `params`, as `params_ema`.

    Raises:
      WeightFileError: see `load_model`.
    """
    source = open_weights(path_or_name)
    chosen = source.choose(key, order=("params", "params_ema"))
    averages = [found for found in source.found if found.role == "params_ema"]
    average = source.choose() if not key else averages[0] if len(averages) == 1 else chosen
    params = source.recognise(chosen, role="generator")
    ema = source.recognise(average, role="generator")
    if params.module != ema.module:
        raise WeightFileError(
            f"{source.path} contains params and params_ema of different networks: choose another file."
        )
    return params.module, source.variables(params)["params"], source.variables(ema)["params"]


def load_discriminator_weights(path_or_name: PathOrName) -> tuple[Any, Any]:
    """Return a discriminator and its variables, numpy arrays of all its collections, as {"params", "batch_stats"}.

    Raises:
      WeightFileError: the file does not exist, cannot be read, or contains no discriminator.
    """
    source = open_weights(path_or_name)
    network = source.recognise(source.choose(order=("discriminator",)), role="discriminator")
    return network.module, source.variables(network)


def load_vgg(
    path_or_name: PathOrName,
    vgg_type: str = "vgg19",
    layers: Sequence[str] = ("conv5_4",),
    use_input_norm: bool = True,
    range_norm: bool = False,
) -> tuple[Any, Any]:
    """Return a VGG feature extractor and its weights, from torchvision's file or one with the same names.

    float16 and bfloat16 become float32; float64 stays.

    Args:
      path_or_name: a .pth, .safetensors or .npz file, or "vgg19" for the published one.
      vgg_type: vgg11, vgg13, vgg16 or vgg19.
      layers: `convX_Y`, `reluX_Y` or `poolX`; weights behind the deepest one are left out.
      use_input_norm: subtract ImageNet's mean and divide by its standard deviation.
      range_norm: pictures are in [-1, 1] rather than [0, 1].

    Raises:
      WeightFileError: the file cannot be read or downloaded, or contains another network.
    """
    source = open_weights(path_or_name)
    network = source.recognise(source.choose(order=("features",)), vgg_type)
    module: Any = network.module.clone(
        layers=tuple(layers), use_input_norm=use_input_norm, range_norm=range_norm
    )
    wanted = state_dict_shapes(module)
    state_dict = {name: array for name, array in network.state_dict.items() if name in wanted}
    return module, source.variables(replace(network, module=module, state_dict=state_dict))
