"""State dicts in a file: trainers wrap them in dicts and put prefixes before their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from esrgan_jax.errors import WeightFileError

StateDict = dict[str, np.ndarray]

WRAPPERS = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "netG.", "netD.", "generator.", "generator_ema.", "discriminator.")

ROLES = {
    "params_ema": "params_ema",
    "params-ema": "params_ema",
    "generator_ema": "params_ema",
    "discriminator": "discriminator",
    "netD": "discriminator",
}
"""Wrapper or prefix -> role of the state dict in it; all others, and none, mean `params`."""


@dataclass(frozen=True)
class Found:
    """A state dict in a file.

    Attributes:
      wrapper: the wrappers and prefixes around it, as params_ema or state_dict/generator; "" for none.
      role: params, params_ema or discriminator.
      state_dict: names without prefix.
    """

    wrapper: str
    role: str
    state_dict: StateDict


def find_state_dicts(tree: Any) -> list[Found]:
    """Return every state dict of a file that is where trainers put them."""
    return list(_find(tree, (), 3))


def _find(tree: Any, path: tuple[str, ...], depth: int) -> Iterator[Found]:
    if type(tree) is not dict:
        return
    groups: dict[tuple[str, ...], StateDict] = {}
    for name, value in tree.items():
        if type(name) is str and isinstance(value, np.ndarray):
            prefixes, rest = _split(name)
            groups.setdefault(prefixes, {})[rest] = value
    if len(groups) > 1:
        groups.pop((), None)  # beside its networks, mmagic keeps counters and losses without a prefix
    for prefixes, state_dict in groups.items():
        parts = (*path, *prefixes)
        role = next((ROLES[part] for part in reversed(parts) if part in ROLES), "params")
        yield Found("/".join(parts), role, state_dict)
    for wrapper in WRAPPERS if depth else ():
        yield from _find(tree.get(wrapper), (*path, wrapper), depth - 1)


def _split(name: str) -> tuple[tuple[str, ...], str]:
    prefixes: tuple[str, ...] = ()
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        prefixes, name = (*prefixes, prefix[:-1]), name.removeprefix(prefix)
    return prefixes, name


def choose(found: list[Found], key: str | None, source: str) -> Found:
    """Return one of several state dicts.

    Args:
      found: what `find_state_dicts` returned.
      key: a role, a wrapper or the last part of one; None: the EMA if there is one, else the generator.
      source: what to call the file in an error message.

    Raises:
      WeightFileError: there is none, or none of that name.
    """
    if not found:
        raise WeightFileError(f"{source} contains no named arrays: it is not a weight file.")
    order = (key,) if key else ("params_ema", "params", "discriminator")
    for wanted in order:
        for candidate in found:
            if wanted in (candidate.role, candidate.wrapper, candidate.wrapper.rpartition("/")[2]):
                return candidate
    names = sorted({candidate.wrapper or candidate.role for candidate in found})
    raise WeightFileError(f"{source} contains no {key}, only {' and '.join(names)}.")
