"""PyTorch state dicts {official name: array} <-> linen variables, exactly and both ways.

Names are the same on both sides (`conv_body.weight` is params/conv_body/weight) except that our generator's
trunk stacks its blocks: `body.{i}.rdb1.conv1.weight` is entry i of params/body/rdb1/conv1/weight. Layouts
differ: OIHW and HWIO for convolutions, [out, in] and [in, out] for linear layers, and the order in which the
discriminator's linear1 sees its 4 x 4 pixels.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from esrgan_jax.errors import WeightFileError
from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator
from esrgan_jax.weights.state_dicts import StateDict

LINEAR1_PIXELS = 16  # the discriminator's last feature map is 4 x 4


@functools.lru_cache(maxsize=16)
def variable_shapes(module: nn.Module) -> Any:
    """The tree of shapes and dtypes of a network's variables; nothing is computed."""
    if isinstance(module, VGGStyleDiscriminator):
        size, channels = module.input_size, module.num_in_ch
    elif isinstance(module, RRDBNet):
        size, channels = 4, module.num_in_ch
    else:  # five poolings leave one of 32 pixels
        size, channels = 32, 3
    order: list[tuple[str, ...]] = []

    def init() -> Any:
        variables = module.init(jax.random.key(0), jnp.zeros((1, size, size, channels)))
        order.extend(flatten_dict(variables))
        return variables

    # JAX sorts by name what it returns; files are nicer in the order in which a network's layers follow.
    leaves = flatten_dict(jax.eval_shape(init))
    return unflatten_dict({path: leaves[path] for path in order})


@functools.lru_cache(maxsize=16)
def state_dict_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """{official name: shape in PyTorch} of everything in a network's state dict, in PyTorch's order."""
    leaves = dict(_leaves(variable_shapes(module)))
    # A scan returns its parameters sorted by name, biases first.
    body = sorted((path for path in leaves if path[0] == "body"), key=lambda p: (p[:-1], p[-1] != "weight"))
    first = next((path for path in leaves if path[0] == "body"), None)
    shapes: dict[str, tuple[int, ...]] = {}
    for path, leaf in leaves.items():
        if path[0] != "body":
            shapes[".".join(path)] = _torch_shape(leaf.shape)
        elif path == first:
            for i in range(leaf.shape[0]):
                shapes |= {_block_name(i, part): _torch_shape(leaves[part].shape[1:]) for part in body}
    return shapes


def to_state_dict(variables: Any) -> StateDict:
    """Linen variables as a PyTorch state dict of numpy arrays, dtypes kept.

    Only num_batches_tracked becomes int64, which torch counts in and JAX by default does not have.
    """
    state_dict: StateDict = {}
    for path, leaf in _leaves(variables):
        value = np.asarray(leaf)
        if path[0] == "body":
            for i, block in enumerate(value):
                state_dict[_block_name(i, path)] = _to_torch(path, block)
        else:
            state_dict[".".join(path)] = _to_torch(path, value)
    return state_dict


def from_state_dict(module: nn.Module, state_dict: StateDict, source: str = "the state dict") -> Any:
    """A PyTorch state dict as variables of `module`: numpy arrays of their own memory, dtypes kept.

    Names that `module` has no place for are an error, except for VGG's layers behind the deepest one wanted.

    Args:
      module: the network.
      state_dict: arrays by their official names.
      source: what to call the state dict in an error message.

    Raises:
      WeightFileError: a name is missing or unexpected, or an array has another shape.
    """
    expected = state_dict_shapes(module)
    for name, shape in expected.items():
        if name not in state_dict:
            raise WeightFileError(
                f"{source} lacks {name}: it is no file for {type(module).__name__} of this size."
            )
        if np.shape(state_dict[name]) != shape:
            raise WeightFileError(
                f"{source} has {name} of shape {np.shape(state_dict[name])}, {shape} expected."
            )
    beyond = ("features.", "classifier.") if isinstance(module, VGGFeatureExtractor) else ()
    for name in state_dict:
        if name not in expected and not name.startswith(beyond):
            raise WeightFileError(f"{source} has {name}, which {type(module).__name__} of this size lacks.")

    variables = {}
    for path, leaf in flatten_dict(variable_shapes(module)).items():
        inner = path[1:]
        if inner[0] == "body":
            names = [_block_name(i, inner) for i in range(leaf.shape[0])]
            value = np.empty(leaf.shape, _common_dtype([state_dict[name] for name in names]))
            for i, name in enumerate(names):
                value[i] = _from_torch(inner, np.asarray(state_dict[name]))
        else:
            # A copy: the file's bytes, which the state dict may be a view of, need not stay in memory.
            value = np.array(_from_torch(inner, np.asarray(state_dict[".".join(inner)])), order="C")
        variables[path] = value
    return unflatten_dict(variables)


def _leaves(variables: Any) -> list[tuple[tuple[str, ...], Any]]:
    return [
        leaf
        for collection in ("params", "batch_stats")
        for leaf in flatten_dict(variables.get(collection, {})).items()
    ]


def _block_name(i: int, path: tuple[str, ...]) -> str:
    return ".".join(("body", str(i), *path[1:]))


def _common_dtype(arrays: list[np.ndarray]) -> np.dtype:
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) == 1:
        return dtypes.pop()
    return np.dtype(np.float64 if np.dtype(np.float64) in dtypes else np.float32)


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 4:
        return (shape[3], shape[2], shape[0], shape[1])
    return shape[::-1]


def _to_torch(path: tuple[str, ...], value: np.ndarray) -> np.ndarray:
    if path[-1] == "num_batches_tracked":
        return value.astype(np.int64)
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if value.ndim != 2:
        return value
    if path[0] == "linear1":
        channels = value.shape[0] // LINEAR1_PIXELS
        value = value.reshape(LINEAR1_PIXELS, channels, -1).swapaxes(0, 1).reshape(value.shape)
    return value.T


def _from_torch(path: tuple[str, ...], value: np.ndarray) -> np.ndarray:
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    if value.ndim != 2:
        return value
    value = value.T
    if path[0] == "linear1":
        channels = value.shape[0] // LINEAR1_PIXELS
        value = value.reshape(channels, LINEAR1_PIXELS, -1).swapaxes(0, 1).reshape(value.shape)
    return value
