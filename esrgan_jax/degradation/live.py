"""Live sizes: a picture of a size known only while running, at the top left of an array of fixed shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Num

Size = tuple[Any, Any]
"""(height, width) in pixels; Python integers, or traced."""


def live_size(x: Array, size: Size | None) -> Size:
    """Return `size`, or that of the whole array [h, w, c] for None."""
    return (x.shape[0], x.shape[1]) if size is None else size


def inside(shape: tuple[int, ...], size: Size) -> Bool[Array, "h w 1"]:
    """Return which pixels of an array belong to its picture."""
    rows, columns = (jnp.arange(side) < live for side, live in zip(shape[:2], size, strict=True))
    return (rows[:, None] & columns)[..., None]


def zero_beyond(x: Num[Array, "h w c"], size: Size) -> Num[Array, "h w c"]:
    """Return the array with zeros beyond its picture."""
    return jnp.where(inside(x.shape, size), x, 0)
