"""The contract of an architecture's entry, and the registry of entries; no network is known here by name."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import flax.linen as nn
import numpy as np

StateDict = dict[str, np.ndarray]

Role = Literal["generator", "discriminator", "features"]

MAX_WIDTH = 65_536


@dataclass(frozen=True)
class Hints:
    """What is known of a state dict besides its arrays.

    Attributes:
      source: what to call the file in an error message.
      arch: the architecture that the user named.
      scale: the scale that the user or the file named.
    """

    source: str
    arch: str | None = None
    scale: int | None = None


@dataclass(frozen=True, eq=False)
class Dialect:
    """One program's names for the arrays of an architecture.

    Attributes:
      name: of the dialect, in messages: new, old, torchvision.
      names: {official name: local name} of layers (`conv{i}`: arrays in them keep their names) or of single arrays
        (`conv{i}.weight`). The first row that matches counts. Braces stand for whole numbers, the same ones on both
        sides; a local name may also contain fields of the module (`model.1.sub.{num_block}`).
    """

    name: str
    names: Mapping[str, str]

    def official_name(self, name: str) -> str | None:
        """Return the official name of an array, or None if the dialect lacks it."""
        return _rename(name, ((local, official) for official, local in self.names.items()), {})

    def local_name(self, name: str, module: nn.Module) -> str:
        """Return the local name of an array of `module`; an unknown name stays."""
        fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
        return _rename(name, self.names.items(), fields) or name

    def match(self, names: Iterable[str]) -> tuple[int, int]:
        """Return how many names the dialect has, and how many start like one; the larger, the nearer."""
        names = list(names)
        beginnings = {local.split(".")[0] for local in self.names.values()}
        return (
            sum(self.official_name(name) is not None for name in names),
            sum(name.split(".")[0] in beginnings for name in names),
        )


def official_dialect(name: str, *names: str) -> Dialect:
    """Return the dialect of the official names, those that `to_state_dict` writes."""
    return Dialect(name, dict(zip(names, names, strict=True)))


def _rename(name: str, rows: Iterable[tuple[str, str]], fields: dict[str, Any]) -> str | None:
    for old, new in rows:
        if match := _pattern(old).fullmatch(name):
            return new.format(**fields | match.groupdict()) + (match[match.re.groups] or "")
    return None


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """Of a layer or an array; the last group is the name of an array in a layer."""
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]+)", re.escape(template)) + r"(\.[^.]+)?")


@functools.cache
def names_in(dialects: tuple[Dialect, ...]) -> re.Pattern[str]:
    """Return what finds a name of one of the dialects at the end of a longer name, behind a separator."""
    templates = dict.fromkeys(local for dialect in dialects for local in dialect.names.values())
    layers = (re.sub(r"\\{\w+\\}", "[0-9]+", re.escape(template)) for template in templates)
    return re.compile(rf"(?<![^._/:])(?:{'|'.join(layers)})(?:\.[^.]+)?\Z")


def _unchanged(state_dict: StateDict) -> StateDict:
    return state_dict


def _official(module: Any) -> None:
    return None


def _by_the_rule(name: str, value: np.ndarray) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Architecture:
    """All that weight files, commands and configurations need to know of a network.

    A network's variables have the official names: params/conv/weight is `conv.weight`, whatever collection they are
    in. By the rule, arrays of four axes are OIHW in PyTorch and HWIO here, those of two [out, in] and [in, out], and
    all others are the same.

    Attributes:
      name: what --arch, configurations (`network_g.type`, `network_d.type`) and messages call it.
      role: what it is for.
      module: the class of the network.
      dialects: the names in the files of different programs; the first has the official ones.
      infer: (state dict with official names, hints) -> module, its sizes read from the arrays. It raises
        WeightFileError if there is no such module; names and shapes of all arrays are compared afterwards.
      fields: constructor fields that belong to the weights; others say how the network is run or trained.
      stacked: top-level layer whose parameters have a leading axis of blocks: entry i of params/body/conv/weight is
        `body.{i}.conv.weight`.
      complete: adds what old files lack, and drops what does not belong to the network.
      to_torch, from_torch: exceptions to the rule: (official name, array) -> array in the layout of the other side,
        or None where the rule applies.
      variants: {name: constructor fields that select it} of a network that is known by several names instead of
        `name`.
      dialect_of: module -> the dialect in which other programs know it, if that is not the first one.
    """

    name: str
    role: Role
    module: type[nn.Module]
    dialects: tuple[Dialect, ...]
    infer: Callable[[StateDict, Hints], nn.Module]
    fields: tuple[str, ...] = ()
    stacked: str | None = None
    complete: Callable[[StateDict], StateDict] = _unchanged
    to_torch: Callable[[str, np.ndarray], np.ndarray | None] = _by_the_rule
    from_torch: Callable[[str, np.ndarray], np.ndarray | None] = _by_the_rule
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dialect_of: Callable[[Any], Dialect | None] = _official

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the architecture."""
        return tuple(self.variants) or (self.name,)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds a name of the architecture at the end of a longer one."""
        return names_in(self.dialects)


ARCHITECTURES: dict[str, Architecture] = {}
"""Name -> entry of every architecture known here, in the order of registration."""


def register(entry: Architecture) -> Architecture:
    """Make an architecture known to all commands and configurations; return its entry.

    Raises:
      ValueError: the first dialect has other names than the official ones, or the name or module is registered.
    """
    official = entry.dialects[0].names if entry.dialects else {}
    renamed = [f"{local} for {name}" for name, local in official.items() if local != name]
    if renamed or not official:
        raise ValueError(
            f"{entry.name}: the first dialect must have the official names, those that to_state_dict writes; it has "
            f"{renamed[0] if renamed else 'no names'}."
        )
    for known, other in ARCHITECTURES.items():
        if known in entry.names or other.module is entry.module:
            raise ValueError(f"{entry.name}: {known} ({other.module.__name__}) is already registered.")
    ARCHITECTURES.update(dict.fromkeys(entry.names, entry))
    return entry


def entry_of(module: nn.Module) -> Architecture:
    """Return the entry of a network.

    Raises:
      ValueError: it is not registered.
    """
    for entry in ARCHITECTURES.values():
        if entry.module is type(module):
            return entry
    raise ValueError(
        f"{type(module).__name__} is not a registered architecture (known: {', '.join(ARCHITECTURES)}). Register it: "
        "esrgan_jax.weights.architectures.register(Architecture(...))."
    )


def size(state_dict: StateDict, name: str, axis: int, default: int) -> int:
    """Return the size of an array along an axis; `default` if it is absent, which `recognise` reports by name."""
    array = state_dict.get(name)
    if array is None or array.ndim <= axis:
        return default
    return min(max(array.shape[axis], 1), MAX_WIDTH)
