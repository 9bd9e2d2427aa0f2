"""Which tiles a picture is cut into: their size, and how far they overlap."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from esrgan_jax.errors import ConfigError, InferenceError
from esrgan_jax.inference.tile_network import BAND_ROWS, RIM
from esrgan_jax.inference.tiling import BLEND, Span, count_spans, split_axis
from esrgan_jax.models import RRDBNet
from esrgan_jax.system.memory import free_bytes

Overlap = int | Literal["exact"]

TILE_SIDES = (64, 128, 256, 512)
"""Sides of tiles, in pixels of the trunk. Few, because each is compiled once."""

EXACT_TILE_SIDES = (*TILE_SIDES, 1024, 2048, 4096)
"""The same where tiles must hold twice the distance that the network sees."""

DEFAULT_OVERLAP = 112
"""In pixels of the trunk; docs/upscaling.md says how it was chosen."""


@dataclass(frozen=True)
class TileGrid:
    """The tiles of one picture; all lengths in pixels of the trunk.

    Attributes:
      tile: the side of each.
      overlap: the least that neighbours share.
      blend: the share of it that is blended.
    """

    height: int
    width: int
    tile: int
    overlap: int
    blend: float

    @property
    def count(self) -> int:
        """How many tiles there are."""
        rows = count_spans(self.height, self.tile, self.overlap)
        return rows * count_spans(self.width, self.tile, self.overlap)

    def split(self, zoom: int, height: int, width: int) -> tuple[list[Span], list[Span]]:
        """The rows and the columns of tiles for an output of `height` x `width`, see `tiling.cut`."""
        rows = split_axis(self.height, self.tile, self.overlap, self.blend, zoom, height)
        return rows, split_axis(self.width, self.tile, self.overlap, self.blend, zoom, width)


class TileSizes:
    """Chooses tiles for pictures, from the ladder or as the user said, and smaller ones when memory runs out.

    Args:
      tile, overlap: in pixels of the input, see `Upscaler`.
      dtype: computed in.

    Raises:
      ConfigError: `tile` or `overlap` cannot be used.
    """

    def __init__(
        self,
        module: RRDBNet,
        tile: int | None,
        overlap: Overlap | None,
        dtype: Any,
        devices: Sequence[jax.Device],
    ):
        self._module, self._dtype, self._devices = module, dtype, devices
        self._unshuffle = module.unshuffle
        smallest = TILE_SIDES[0] * self._unshuffle
        if tile is not None and (tile < smallest or tile % self._unshuffle):
            multiple = f", and a multiple of {self._unshuffle}" if self._unshuffle > 1 else ""
            raise ConfigError(
                f"tile (={tile}) must be at least {smallest} pixels for this network{multiple}."
            )
        if isinstance(overlap, str) and overlap != "exact":
            raise ConfigError(f"overlap (={overlap!r}) must be a number of pixels, or exact.")
        if not isinstance(overlap, str | None) and overlap < 0:
            raise ConfigError(f"overlap (={overlap}) must not be negative.")
        self._exact = overlap == "exact"
        self._given = overlap is not None
        self._overlap = DEFAULT_OVERLAP
        if self._exact:
            self._overlap = 2 * module.receptive_radius
        elif isinstance(overlap, int):
            self._overlap = -(-overlap // self._unshuffle)
            if tile is not None and 2 * overlap > tile:
                raise ConfigError(f"overlap (={overlap}) must be at most half of tile (={tile}).")
        self._given_tile = None if tile is None else tile // self._unshuffle
        self._limit: int | None = None

    def choose(self, height: int, width: int) -> TileGrid:
        """The tiles for a picture of that size: those that need the least work among those the memory allows.

        Args:
          height, width: in pixels of the trunk.

        Raises:
          ConfigError: the overlap asked for does not go with any tile that the memory allows.
        """
        if self._given_tile is not None:
            sizes = [self._given_tile]
        else:
            ladder = EXACT_TILE_SIDES if self._exact else TILE_SIDES
            sizes = [size for size in ladder if size <= self._largest()]
        need = 2 * self._overlap if not self._exact else self._overlap + 1
        fitting = [size for size in sizes if size >= min(need, max(height, width))]
        if fitting:
            grids = [self._grid(height, width, size, self._overlap) for size in fitting]
            return min(grids, key=lambda grid: (grid.count * grid.tile**2, -grid.tile))
        if not self._given:
            return self._grid(height, width, sizes[-1], sizes[-1] // 2)
        largest = sizes[-1] * self._unshuffle
        if self._exact:
            raise ConfigError(
                f"overlap 'exact' needs tiles of more than {self._overlap * self._unshuffle} pixels for this "
                f"network, and {'tile is' if self._given_tile else 'the memory is enough for'} {largest}: give "
                "overlap as a number, or leave it out for one that is as good to the eye."
            )
        raise ConfigError(
            f"overlap (={self._overlap * self._unshuffle}) must be at most half a tile, and the memory is enough for "
            f"tiles of {largest}: choose a smaller one."
        )

    def halve(self, tile: int) -> None:
        """Halves the tile, because the device's memory has not been enough for one of side `tile`.

        Raises:
          InferenceError: it is the smallest one.
        """
        side = tile * self._unshuffle
        if tile // 2 < TILE_SIDES[0]:
            raise InferenceError(
                f"the device's memory is not enough even for tiles of {side} x {side} pixels: "
                "stop other programs that use it, or run on the CPU with JAX_PLATFORMS=cpu."
            )
        warnings.warn(
            f"the device ran out of memory with tiles of {side} x {side} pixels; "
            f"going on with {side // 2} x {side // 2}",
            stacklevel=2,
        )
        if self._given_tile is not None:
            self._given_tile = tile // 2
        self._limit = tile // 2

    def _largest(self) -> int:
        if self._limit is None:
            free = free_bytes(self._devices)
            size = jnp.dtype(self._dtype).itemsize
            fitting = [tile for tile in EXACT_TILE_SIDES if tile_bytes(self._module, tile, size) <= free]
            self._limit = max(fitting, default=TILE_SIDES[0])
        return self._limit

    def _grid(self, height: int, width: int, tile: int, overlap: int) -> TileGrid:
        return TileGrid(height, width, tile, overlap, 0 if self._exact else BLEND)


def tile_bytes(module: RRDBNet, tile: int, value_bytes: int) -> int:
    """About how much one device needs for one tile (not counting the parameters).

    Args:
      tile: its side in pixels of the trunk.
      value_bytes: of what is computed in: 4 for float32, 2 for bfloat16.
    """
    zoom = module.scale * module.unshuffle
    dense = module.num_feat + 4 * module.num_grow_ch
    # Features in float32 (three live at once) and a dense block's inputs, twice while one is extended.
    trunk = tile * tile * (3 * 4 * module.num_feat + 2 * value_bytes * dense)
    rows = min(tile, BAND_ROWS + 2 * RIM)
    band = rows * tile * zoom * zoom * 3 * value_bytes * module.num_feat
    # The result twice: joined from bands, and one tile waiting to be fetched.
    result = 2 * 4 * (tile * zoom) ** 2 * module.num_out_ch
    return trunk + band + result
