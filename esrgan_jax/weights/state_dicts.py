"""The networks in a file: under which keys and prefixes they lie, and which one is meant.

The dialects say where in the long name of an array (`named_arrays`) the name that a known network gives it begins;
what is in front says where the network lies.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from esrgan_jax.errors import WeightFileError
from esrgan_jax.weights.architectures import ARCHITECTURES
from esrgan_jax.weights.architectures.architecture import StateDict
from esrgan_jax.weights.named_arrays import NamedArray, named_arrays

ROLES = ("params_ema", "params", "discriminator", "features")
"""What a network in a file is for; those first that are meant unless something else is asked for."""

AVERAGE = re.compile(
    r"EMA|Ema(?![a-z])|(?<![A-Za-z])ema(?![a-z])|(?<![A-Za-z])([Aa]veraged?|[Aa]vg|[Ss]hadow|[Ss]wa)(?![a-z])"
)
"""Words in a key or prefix that say that what is there is a moving average."""

MAX_NETWORKS = 100


@dataclass(frozen=True)
class Found:
    """A network in a file.

    Attributes:
      wrapper: the keys and prefixes in front of it, as params_ema or state_dict/generator; "" for none.
      role: one of ROLES, or "optimizer".
      state_dict: names without prefix; of an optimizer none.
      is_known: whether names of a network that is known here are in it.
    """

    wrapper: str
    role: str
    state_dict: StateDict
    is_known: bool = True


def find_state_dicts(tree: Any) -> list[Found]:
    """Return every network of a file, in the file's order, then its optimizers.

    Args:
      tree: dicts, lists, tuples and placeholders in one another, with arrays in the dicts.
    """
    arrays, optimizers = named_arrays(tree)
    networks = _known(arrays)
    unknown = _add_others(arrays, networks)
    order = {named.name: i for i, named in enumerate(arrays)}
    generators = [network.prefix for network in networks + unknown if network.role in (None, "generator")]
    found = []
    for prefix, role, members in sorted(
        networks + unknown, key=lambda network: order[network.members[0].name]
    ):
        state_dict = {named.name[len(prefix) :]: named.array for named in members}
        if role in (None, "generator"):
            role_in_file = "params_ema" if _is_average(prefix, generators) else "params"
        else:
            role_in_file = role
        found.append(Found(_wrapper(prefix), role_in_file, state_dict, role is not None))
    return found + [Found(_wrapper(place), "optimizer", {}) for place in optimizers]


def _is_average(prefix: str, prefixes: list[str]) -> bool:
    """Whether a moving average is there: by what differs from the nearest other networks, or else by all in front.

    Both networks of an EMA wrapper lie under its key: ema.ema_model and ema.online_model.
    """
    shared = {other: _shared(prefix, other) for other in prefixes if other != prefix}
    nearest = max(shared.values(), default=0)
    family = [prefix, *(other for other, length in shared.items() if length == nearest)]
    if any(AVERAGE.search(other[nearest:]) for other in family):
        return bool(AVERAGE.search(prefix[nearest:]))
    return bool(AVERAGE.search(prefix))


def _shared(a: str, b: str) -> int:
    """How many characters two prefixes share, in whole keys."""
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a.rfind(".", 0, length) + 1


def _wrapper(prefix: str) -> str:
    text = "/".join(part for part in re.split("[./]", prefix.rstrip("._/:")) if part)
    return "".join(character if character.isprintable() else "?" for character in text)


class _Network(NamedTuple):
    prefix: str
    role: str | None  # None: unknown
    members: list[NamedArray]


def _known(arrays: list[NamedArray]) -> list[_Network]:
    """Networks with names of a dialect; each array belongs to one, the one with most names first."""
    matches: dict[tuple[str, Any], list[NamedArray]] = defaultdict(list)
    architectures = dict.fromkeys(ARCHITECTURES.values())
    for named in arrays:
        for architecture in architectures:
            if match := architecture.pattern.search(named.name):
                matches[named.name[: match.start()], architecture].append(named)
    networks: dict[str, _Network] = {}
    taken: set[str] = set()
    for (prefix, architecture), members in sorted(
        matches.items(), key=lambda item: (-len(item[1]), len(item[0][0]))
    ):
        if len(networks) == MAX_NETWORKS:
            break
        free = [named for named in members if named.name not in taken]
        if prefix not in networks and 2 * len(free) > len(members) and _has_kernel(free):
            networks[prefix] = _Network(prefix, architecture.role, free)
            taken.update(named.name for named in free)
    return list(networks.values())


def _add_others(arrays: list[NamedArray], networks: list[_Network]) -> list[_Network]:
    """Add arrays beside those of a network to it; return networks of the rest, by where it parts from the known."""
    taken = {named.name for network in networks for named in network.members}
    places = [(network, {named.place for named in network.members}) for network in networks]
    places.sort(key=lambda item: -len(item[0].prefix))
    above = {""} | {x.prefix[: i + 1] for x in networks for i, letter in enumerate(x.prefix) if letter == "."}
    groups: dict[str, list[NamedArray]] = defaultdict(list)
    for named in arrays:
        if named.name in taken:
            continue
        for network, around in places:
            if named.place in around and named.name.startswith(network.prefix):
                if (
                    named.array.ndim
                ):  # a single number is a counter; those that a network has, its dialect knows
                    network.members.append(named)
                break
        else:
            prefix = named.place
            while networks and prefix in above:
                end = named.name.find(".", len(prefix))
                if end < 0:
                    break  # beside its networks, mmagic keeps counters and losses without a prefix
                prefix = named.name[: end + 1]
            else:
                groups[prefix].append(named)
    strong = {prefix: members for prefix, members in groups.items() if _has_kernel(members)}
    chosen = list((strong if strong or networks else groups).items())[:MAX_NETWORKS]
    return [_Network(prefix, None, members) for prefix, members in chosen]


def _has_kernel(members: list[NamedArray]) -> bool:
    return any(named.array.ndim > 1 for named in members)


def choose(found: list[Found], key: str | None, source: str, order: Sequence[str] = ROLES) -> Found:
    """Return one of several networks.

    Args:
      found: what `find_state_dicts` returned.
      key: a key or prefix, as many of them as are needed (`state_dict/net_d`), or a role; None: any.
      source: what to call the file in an error message.
      order: the roles, those first that are wanted most.

    Raises:
      WeightFileError: there is none, none of that key, or several with equal right.
    """
    networks = [candidate for candidate in found if candidate.role in ROLES]
    if not networks and found:
        raise WeightFileError(_training_state(source))
    if not networks:
        raise WeightFileError(f"{source} contains no named arrays: it is not a weight file.")
    named = networks
    if key:
        wanted = f"/{_wrapper(key)}/"
        named = (
            [candidate for candidate in networks if f"/{candidate.wrapper}/" == wanted]
            or [candidate for candidate in networks if wanted in f"/{candidate.wrapper}/"]
            or [candidate for candidate in networks if candidate.role == key]
        )
    if not named:
        raise WeightFileError(f"{source} contains no {key}, only {_names(networks)}.")
    # What is known goes before what is not; of the unknown any will do, since no command can use it.
    named = [candidate for candidate in named if candidate.is_known] or named[:1]
    role = min((candidate.role for candidate in named), key=[*order, *ROLES].index)
    best = [candidate for candidate in named if candidate.role == role]
    if any(not _equal(candidate.state_dict, best[0].state_dict) for candidate in best[1:]):
        raise WeightFileError(
            f"{source} contains several networks, {_names(best)}: choose one with --key (param_key_g in training)."
        )
    return best[0]


def _names(networks: list[Found]) -> str:
    names = sorted({candidate.wrapper or candidate.role for candidate in networks})
    return " and ".join(names[:10]) + f" and {len(names) - 10} more" * (len(names) > 10)


def _equal(a: StateDict, b: StateDict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _training_state(source: str) -> str:
    number = Path(source).stem
    network = f"net_g_{number}.pth" if number.isdigit() else "the net_g file of the same iteration"
    return (
        f"{source} is a training state: it holds optimizers and no network. Take {network}, which the trainer saved "
        "beside it."
    )
