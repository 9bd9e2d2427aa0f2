"""A state dict that has been recognised as a network, and what can be done with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import numpy as np

from esrgan_jax.errors import WeightFileError
from esrgan_jax.weights.architectures import ARCHITECTURES, Architecture, Dialect, Hints, entry_of
from esrgan_jax.weights.architectures.architecture import Role
from esrgan_jax.weights.convert import state_dict_shapes
from esrgan_jax.weights.state_dicts import StateDict

ROLES = {"generator": "a generator", "discriminator": "a discriminator", "features": "a feature network"}


@dataclass(frozen=True)
class RecognisedNetwork:
    """A state dict that has been recognised.

    Attributes:
      dialect: of the names in the file: new, middle, old, BasicSR, torchvision, ...
      module: the network it belongs to.
      state_dict: its arrays under their official names, shapes as in PyTorch.
    """

    dialect: str
    module: nn.Module
    state_dict: StateDict


def recognise(
    state_dict: StateDict,
    source: str,
    arch: str | None = None,
    scale: int | None = None,
    role: Role | None = None,
) -> RecognisedNetwork:
    """Return the network that a state dict describes: its dialect from the names, its sizes from the shapes.

    Args:
      state_dict: arrays by their names, without wrapper and prefix.
      source: what to call it in an error message.
      arch: one of ARCHITECTURES: which one it must be.
      scale: of a generator, where the arrays fit several; each architecture has a default.
      role: what the network is needed for.

    Raises:
      WeightFileError: it is no network that is known here, or another than `arch` or `role`; names the nearest
        dialect and the first names that differ.
    """
    names = list(state_dict)
    entries = dict.fromkeys(ARCHITECTURES.values())
    matches = {(entry, dialect): dialect.match(names) for entry in entries for dialect in entry.dialects}
    best = max(matches.values())
    known, similar = best
    nearest = [pair for pair, match in matches.items() if match == best]
    wanted = [pair for pair in nearest if arch in (None, *pair[0].names) and role in (None, pair[0].role)]
    if not (known or similar):
        raise WeightFileError(
            f"{source} holds none of the networks that are known here ({', '.join(ARCHITECTURES)}): its arrays are "
            f"called {_first_names(names)}."
        )
    if known and not wanted:
        raise WeightFileError(f"{source} is {_another_kind(nearest[0][0], arch, role)}.")
    # Small networks can have names that several architectures have.
    errors = []
    for entry, dialect in wanted or nearest:
        try:
            return _read(entry, dialect, state_dict, Hints(source, arch, scale))
        except WeightFileError as error:
            errors.append(error)
    raise errors[0]


def _another_kind(entry: Architecture, arch: str | None, role: Role | None) -> str:
    """Say what a file is and what is needed: by their roles, or by their names if they have one role."""
    wanted = ARCHITECTURES.get(arch or "")
    needed = role or (wanted.role if wanted else entry.role)
    if needed == entry.role:
        return f"{entry.name}: {arch} is needed here"
    text = f"{ROLES[entry.role]}, {entry.name}: {ROLES[needed]} is needed here"
    if (entry.role, needed) == ("discriminator", "generator"):
        text += "; a discriminator enlarges nothing: take the net_g that was trained with it"
    return text


def _read(entry: Architecture, dialect: Dialect, state_dict: StateDict, hints: Hints) -> RecognisedNetwork:
    renamed = {dialect.official_name(name) or name: array for name, array in state_dict.items()}
    official = entry.complete(renamed)
    module = entry.infer(official, hints)
    expected = state_dict_shapes(module)
    missing = [dialect.local_name(name, module) for name in expected if name not in official]
    unexpected = [dialect.local_name(name, module) for name in official if name not in expected]
    differences = [
        f"{names[0][:80]}{f' and {len(names) - 1} more' * (len(names) > 1)} {verdict}"
        for names, verdict in ((missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    if differences:
        raise WeightFileError(
            f"{hints.source} holds no network that is known here: nearest is {entry.name} in the {dialect.name} "
            f"dialect, with {', '.join(differences)}."
        )
    return RecognisedNetwork(dialect.name, module, official)


def _first_names(names: Iterable[str]) -> str:
    first, *others = list(names)[:4]
    return ", ".join([first[:60], *(name[:60] for name in others[:2])]) + ", ..." * (len(others) > 2)


def architecture_name(module: Any) -> str:
    """Return what --arch and configurations call a network."""
    entry = entry_of(module)
    for name, fields in entry.variants.items():
        if all(getattr(module, field) == value for field, value in fields.items()):
            return name
    return entry.name


def architecture_fields(module: Any) -> dict[str, Any]:
    """Return the fields of a network that its weights depend on."""
    return {name: getattr(module, name) for name in entry_of(module).fields}


def fields_text(module: Any) -> str:
    """Return the same fields without the scale, as text: "num_feat 64, num_block 23"."""
    fields = {name: value for name, value in architecture_fields(module).items() if name != "scale"}
    return ", ".join(f"{name} {value}" for name, value in fields.items())


def metadata(module: Any) -> dict[str, str]:
    """Return a network's architecture and its fields, as text."""
    fields = {name: str(value) for name, value in architecture_fields(module).items()}
    return {"architecture": architecture_name(module), **fields}


def cast(network: RecognisedNetwork, dtype: np.dtype, source: str) -> RecognisedNetwork:
    """Return the same network with its floating-point arrays in another dtype, rounded to nearest.

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
    """Return (1 - alpha) * a + alpha * b, computed at least in float32, in the dtypes of `a`.

    Source: Wang et al. 2018, section 3.4; the two are networks of one architecture.
    """

    def mix(x: Any, y: Any) -> np.ndarray:
        counts = x.dtype.kind in "iu"
        wide = np.float64 if counts or np.float64 in (x.dtype, y.dtype) else np.float32
        mixed = (1 - alpha) * x.astype(wide) + alpha * y.astype(wide)
        return (np.rint(mixed) if counts else mixed).astype(x.dtype)

    arrays = {name: mix(array, b.state_dict[name]) for name, array in a.state_dict.items()}
    return dataclasses.replace(a, state_dict=arrays)
