"""The arrays of a file, each with one long name.

Trainers put their networks into dicts under keys of any name, and prefixes before the names of the arrays. Both are
one thing here: `{"a": {"b.conv.weight": ...}}` holds an array a.b.conv.weight.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from esrgan_jax.weights.formats.placeholder import Placeholder

CONTAINERS = (dict, list, tuple, Placeholder)

MODULE = ("_modules", "_parameters", "_buffers")
"""Where a torch module that was pickled as a whole has its layers and arrays; no part of their names."""

WRAPPED = re.compile(r"_(\w+_)?mod(ule)?")
"""What torch's wrappers put into names, wherever they stand: _orig_mod, _fsdp_wrapped_module, _forward_module, ..."""

MAX_NAME = 500
MAX_PARTS = 100
MAX_ARRAYS = 20_000
MAX_ENTRIES = 200_000
"""Of dicts and lists that are looked at: a pickle can hold one dict a million times without being large."""


class NamedArray(NamedTuple):
    """An array.

    Attributes:
      place: keys that lead to its dict, a dot behind each.
      name: in the whole file; begins with `place`.
      array: itself.
    """

    place: str
    name: str
    array: np.ndarray


def named_arrays(tree: Any) -> tuple[list[NamedArray], list[str]]:
    """Return the arrays in dicts, and where torch's optimizers are, into which it does not look.

    What is near the top comes first; where two arrays have one name, the first counts.

    Args:
      tree: dicts, lists, tuples and placeholders in one another.
    """
    arrays: dict[str, NamedArray] = {}
    optimizers: list[str] = []
    waiting: deque[tuple[str, Any]] = deque([("", tree)] if isinstance(tree, CONTAINERS) else [])
    entries: dict[int, list[tuple[str, Any]]] = {}
    room = MAX_ENTRIES
    while waiting and room > 0 and len(arrays) < MAX_ARRAYS:
        place, node = waiting.popleft()
        if type(node) is dict and node.keys() >= {"state", "param_groups"}:
            optimizers.append(place)
            continue
        if id(node) not in entries:
            entries[id(node)] = _given(node) if isinstance(node, Placeholder) else _entries(node)
        for key, value in entries[id(node)]:
            room -= 1
            name = place + key
            if room < 0 or len(name) > MAX_NAME:
                continue
            if isinstance(value, np.ndarray):
                arrays.setdefault(name, NamedArray(place, name, value))
            else:
                waiting.append((f"{name}." if key else place, value))
    return list(arrays.values()), optimizers


def _entries(node: Any) -> list[tuple[str, Any]]:
    """What in a dict, list or tuple is an array with a name or may hold some; "" is the key of what adds no name."""
    found = []
    for i, (key, value) in enumerate(node.items() if type(node) is dict else enumerate(node)):
        if isinstance(value, CONTAINERS) or (isinstance(value, np.ndarray) and type(key) is str):
            name = str(key) if type(key) in (str, int, float) else f"key {i}"
            found.append(("" if key in MODULE else name, value))
    without = [_unwrapped(name) if isinstance(value, np.ndarray) else name for name, value in found]
    if len(set(without)) < len(found):  # two would have one name
        return found
    return [(name, value) for name, (_, value) in zip(without, found, strict=True)]


def _unwrapped(name: str) -> str:
    """Leave out `WRAPPED`."""
    *places, last = name.split(".")
    return ".".join([*(place for place in places if not WRAPPED.fullmatch(place)), last])


def _given(node: Placeholder) -> list[tuple[str, Any]]:
    """What in an object may hold arrays. Its class is nothing but a wrapper more if there is only one such thing."""
    given = [x for part in node.parts for x in (part[:MAX_PARTS] if type(part) is tuple else [part])]
    given = [x for x in [node.items, *given] if isinstance(x, CONTAINERS) and _may_hold_arrays(x)]
    return [("" if len(given) == 1 else str(i), x) for i, x in enumerate(given)]


def _may_hold_arrays(node: Any) -> bool:
    if isinstance(node, Placeholder):
        return bool(node.items or node.parts)
    values = node.values() if type(node) is dict else node
    return len(values) > MAX_PARTS or any(isinstance(x, (np.ndarray, *CONTAINERS)) for x in values)
