"""Which tiles a picture is cut into: their size, and how much they overlap."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp

from esrgan_jax.errors import ConfigError, InferenceError
from esrgan_jax.inference.tile_network import BAND_ROWS, head_radius
from esrgan_jax.inference.tiling import BLEND, Span, count_spans, split_axis
from esrgan_jax.system.memory import free_bytes

if TYPE_CHECKING:
    from esrgan_jax.models.network import Generator

Overlap = int | Literal["exact"]

TILE_SIDES = (64, 128, 256, 512)
"""Sides of tiles, in pixels of the trunk. Few, because each of them is compiled."""

EXACT_TILE_SIDES = (*TILE_SIDES, 1024, 2048, 4096)
"""The same for overlap "exact", where a tile must be larger than twice the distance that the network sees."""

DEFAULT_OVERLAP = 112
"""In pixels of the trunk; docs/upscaling.md says how it was chosen. Networks that see half as far or less get exact
tiles instead: they overlap no more.
"""


@dataclass(frozen=True)
class TileGrid:
    """The tiles of one picture; all lengths in pixels of the trunk.

    Attributes:
      height, width: of the picture.
      tile: side of a tile.
      overlap: the least overlap of neighbouring tiles.
      blend: fraction of `overlap` that is blended.
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
        """The rows and the columns of tiles for an output of `height` x `width`, see `tiling.split_axis`."""
        rows = split_axis(self.height, self.tile, self.overlap, self.blend, zoom, height)
        return rows, split_axis(self.width, self.tile, self.overlap, self.blend, zoom, width)


class TileSizes:
    """Chooses the tiles for a picture: from TILE_SIDES or as the user said, and smaller ones after memory ran out.

    Args:
      module: the network.
      tile, overlap: in pixels of the input, see `Upscaler`.
      dtype: dtype of the computation.
      devices: whose memory limits the tile.

    Raises:
      ConfigError: `tile` or `overlap` cannot be used.
    """

    def __init__(
        self,
        module: Generator,
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
        self._given = overlap is not None
        exact = 2 * module.receptive_radius
        self._exact = overlap == "exact" or (overlap is None and exact <= DEFAULT_OVERLAP)
        self._overlap = DEFAULT_OVERLAP
        if self._exact:
            self._overlap = exact
        elif isinstance(overlap, int):
            self._overlap = -(-overlap // self._unshuffle)
            if tile is not None and 2 * overlap > tile:
                raise ConfigError(f"overlap (={overlap}) must be at most half of tile (={tile}).")
        self._given_tile = None if tile is None else tile // self._unshuffle
        self._limit: int | None = None

    def choose(self, height: int, width: int) -> TileGrid:
        """Return the tiles for a picture of that size: of those that fit into memory, the ones with the least work.

        Args:
          height, width: in pixels of the trunk.

        Raises:
          ConfigError: `overlap` is too large for every tile that fits into memory.
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
            return TileGrid(height, width, sizes[-1], sizes[-1] // 2, BLEND)
        largest = sizes[-1] * self._unshuffle
        if self._exact:
            raise ConfigError(
                f"overlap 'exact' needs tiles of more than {self._overlap * self._unshuffle} pixels for this "
                f"network, but {'tile is' if self._given_tile else 'memory allows at most'} {largest}. Give overlap "
                "as a number, or leave it out: the default shows no seams."
            )
        raise ConfigError(
            f"overlap (={self._overlap * self._unshuffle}) must be at most half a tile, and memory allows tiles of "
            f"at most {largest} pixels. Choose a smaller overlap."
        )

    def halve(self, tile: int) -> None:
        """Use half the tile from now on: one of side `tile` did not fit into the device's memory.

        Raises:
          InferenceError: `tile` is the smallest one.
        """
        side = tile * self._unshuffle
        if tile // 2 < TILE_SIDES[0]:
            raise InferenceError(
                f"the device's memory is too small even for tiles of {side} x {side} pixels. "
                "Stop other programs that use it, or run on the CPU with JAX_PLATFORMS=cpu."
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


def tile_bytes(module: Generator, tile: int, value_bytes: int) -> int:
    """Estimate the memory that one tile takes on a device, in bytes, without the parameters.

    Args:
      module: the network.
      tile: side in pixels of the trunk.
      value_bytes: of one number of the computation: 4 for float32, 2 for bfloat16.
    """
    zoom = module.scale * module.unshuffle
    trunk_pixel, output_pixel = module.live_bytes(value_bytes)
    radius = head_radius(module)
    rows = tile if radius is None else min(tile, BAND_ROWS + 2 * radius)
    # The result twice: joined from bands, and one tile waiting to be fetched.
    result = 2 * 4 * (tile * zoom) ** 2 * module.num_out_ch
    return tile * tile * trunk_pixel + rows * tile * zoom**2 * output_pixel + result
