"""PyTorch state dicts {official name: array} <-> linen variables, exactly and both ways.

Names are the same on both sides (`conv_body.weight` is params/conv_body/weight), whatever collection an array is in.
Layouts differ: OIHW and HWIO for convolutions, [out, in] and [in, out] for linear layers. A network's entry in
`architectures` says what else differs, such as blocks that are stacked here.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from esrgan_jax.errors import WeightFileError
from esrgan_jax.weights.architectures import Architecture, entry_of
from esrgan_jax.weights.state_dicts import StateDict

Path = tuple[str, ...]
"""Of a leaf: collection, layers, array."""


class _Place(NamedTuple):
    path: Path
    block: int | None  # index along the leading axis; None: the leaf has no axis of blocks


@functools.lru_cache(maxsize=16)
def variable_shapes(module: Any) -> Any:
    """Return the tree of shapes and dtypes of a network's variables; nothing is computed."""
    order: list[Path] = []

    def init() -> Any:
        variables = module.init(jax.random.key(0), jnp.zeros(module.example_shape))
        order.extend(flatten_dict(variables))
        return variables

    # JAX sorts by name what it returns; files are nicer in the order in which a network's layers follow.
    leaves = flatten_dict(jax.eval_shape(init))
    return unflatten_dict({path: leaves[path] for path in order})


@functools.lru_cache(maxsize=16)
def state_dict_shapes(module: Any) -> dict[str, tuple[int, ...]]:
    """Return {official name: shape in PyTorch} of everything in a network's state dict, in PyTorch's order."""
    entry, leaves = entry_of(module), flatten_dict(variable_shapes(module))
    shapes = {}
    for name, (path, block) in _places(entry, leaves).items():
        leaf = leaves[path]
        of_a_block = leaf.shape if block is None else leaf.shape[1:]
        shapes[name] = _to_torch(entry, name, np.broadcast_to(np.zeros((), leaf.dtype), of_a_block)).shape
    return shapes


def parameter_names(module: Any) -> list[str]:
    """Return the official names of a network's parameters: of what is trained, not of statistics and other state."""
    leaves = flatten_dict(variable_shapes(module))
    return [name for name, place in _places(entry_of(module), leaves).items() if place.path[0] == "params"]


def to_state_dict(module: Any, variables: Any) -> StateDict:
    """Return linen variables as a PyTorch state dict of numpy arrays.

    Dtypes are kept, except that all integers are int64, in which torch counts.

    Args:
      module: the network; sizes are those of the variables.
      variables: {collection: tree}, all collections or some.

    Raises:
      ValueError: the network is not registered, or two arrays have the same name.
    """
    return to_named_arrays(entry_of(module), variables)


def to_named_arrays(entry: Architecture, variables: Any) -> StateDict:
    """Do what `to_state_dict` does where there are arrays of an architecture, but no module."""
    leaves = {path: np.asarray(leaf) for path, leaf in flatten_dict(variables).items()}
    return {
        name: _to_torch(entry, name, leaves[path] if block is None else np.asarray(leaves[path][block]))
        for name, (path, block) in _places(entry, leaves).items()
    }


def from_state_dict(module: Any, state_dict: StateDict, source: str = "the state dict") -> Any:
    """Return a PyTorch state dict as variables of `module`: numpy arrays that share no memory with it.

    Dtypes are kept, except that integers have the dtype of the module's variables.

    Args:
      module: the network.
      state_dict: arrays by their official names.
      source: what to call the state dict in an error message.

    Raises:
      WeightFileError: a name is missing or unexpected, an array has another shape, or weights are quantised.
    """
    entry, leaves = entry_of(module), flatten_dict(variable_shapes(module))
    places = _places(entry, leaves)
    _check(module, state_dict, source)
    parts: dict[Path, list[np.ndarray]] = {path: [] for path in leaves}
    for name, (path, _) in places.items():
        array = np.asarray(state_dict[name])
        if (array.dtype.kind in "iub" and not _is_whole(leaves[path])) or array.dtype.type is np.void:
            dtype = "quantised or complex numbers" if array.dtype.type is np.void else array.dtype
            raise WeightFileError(
                f"{source} has {name} in {dtype}: quantised weights cannot be used, take the originals."
            )
        parts[path].append(_from_torch(entry, name, array))
    variables = {}
    for path, leaf in leaves.items():
        blocks = parts[path]
        dtype = leaf.dtype if _is_whole(leaf) else _common_dtype(blocks)
        # A copy: the file's bytes, which the state dict may be a view of, need not stay in memory.
        value = np.empty((len(blocks), *blocks[0].shape), dtype)
        variables[path] = np.stack(blocks, out=value, casting="unsafe").reshape(leaf.shape)
    return unflatten_dict(variables)


def _check(module: Any, state_dict: StateDict, source: str) -> None:
    expected, kind = state_dict_shapes(module), type(module).__name__
    for name, shape in expected.items():
        if name not in state_dict:
            raise WeightFileError(f"{source} lacks {name}: it is no file for {kind} of this size.")
        if np.shape(state_dict[name]) != shape:
            raise WeightFileError(
                f"{source} has {name} of shape {np.shape(state_dict[name])}, {shape} expected."
            )
    for name in state_dict:
        if name not in expected:
            raise WeightFileError(f"{source} has {name}, which {kind} of this size lacks.")


def _places(entry: Architecture, leaves: dict[Path, Any]) -> dict[str, _Place]:
    """Official name -> where its array is among leaves, which have shapes; parameters first."""
    places: dict[str, _Place] = {}

    def add(path: Path, block: int | None) -> None:
        names = path[1:] if block is None else (path[1], str(block), *path[2:])
        name = ".".join(names)
        if name in places:
            both = f"{'/'.join(places[name].path)} and {'/'.join(path)}"
            raise ValueError(f"{entry.name}: {both} are both called {name} in files. Rename one of them.")
        places[name] = _Place(path, block)

    ordered = sorted(leaves, key=lambda path: path[0] != "params")
    # A scan returns its parameters sorted by name, biases first.
    stacked = sorted(
        (path for path in ordered if path[1] == entry.stacked),
        key=lambda path: (path[0] != "params", path[:-1], path[-1] != "weight"),
    )
    first = next((path for path in ordered if path[1] == entry.stacked), None)
    for path in ordered:
        if path[1] != entry.stacked:
            add(path, None)
        elif path == first:
            for block in range(leaves[path].shape[0]):
                for part in stacked:
                    add(part, block)
    return places


def _is_whole(leaf: Any) -> bool:
    return leaf.dtype.kind in "iub"


def _common_dtype(arrays: list[np.ndarray]) -> np.dtype:
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) == 1:
        return dtypes.pop()
    return np.dtype(np.float64 if np.dtype(np.float64) in dtypes else np.float32)


def _to_torch(entry: Architecture, name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind in "iu":
        value = value.astype(np.int64)
    exception = entry.to_torch(name, value)
    if exception is not None:
        return exception
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value


def _from_torch(entry: Architecture, name: str, value: np.ndarray) -> np.ndarray:
    exception = entry.from_torch(name, value)
    if exception is not None:
        return exception
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T if value.ndim == 2 else value
