"""A network compiled for square tiles, one tile per device and call."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from esrgan_jax.errors import InferenceError
from esrgan_jax.system import parallel

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Float32

    from esrgan_jax.models.network import Generator

PictureBox = tuple[int, int, int, int]
"""y0, y1, x0, x1 of the picture in a tile, in pixels of the trunk. The network takes everything outside as zero.

For an empty box nothing is computed.
"""

BAND_ROWS = 64
"""Rows of the trunk that are reconstructed at once."""


class TileNetwork:
    """A network for square tiles, one per device at once; compiles once per tile size.

    A network in two parts (see `network.Generator`) extracts the features of a whole tile and reconstructs them band
    by band, because the second part needs most of the memory. Any other network runs whole.

    Args:
      module: the network.
      dtype: dtype of the computation; tiles whose result is not finite are computed again in float32.
      devices: where tiles are computed.
    """

    def __init__(self, module: Generator, dtype: Any, devices: Sequence[jax.Device]):
        self.devices = devices
        self._dtype = jnp.dtype(dtype)
        self._module = module.clone(**getattr(module, "inference_fields", {}))
        self._functions: dict[Any, Callable] = {}

    def stream(
        self, params: Any, tiles: Iterable[tuple[np.ndarray, PictureBox]]
    ) -> Iterator[Float32[np.ndarray, "scale*s scale*s c"]]:
        """Yield the enlarged tiles in order, while the devices compute the next ones.

        Args:
          params: replicated over the devices, see `parallel.replicate`.
          tiles: [s, s, c] in [0, 1], RGB or grey, each with the part of it that the picture covers.

        Raises:
          InferenceError: the result of a tile is not finite, in float32 either.
        """
        waiting: deque[tuple[list, Any]] = deque()
        tiles = iter(tiles)
        while True:
            batch = list(itertools.islice(tiles, len(self.devices)))
            if batch:
                waiting.append((batch, self._start(params, batch, self._dtype)))
            if not waiting:
                return
            if len(waiting) == 2 or not batch:
                yield from self._finish(params, *waiting.popleft())

    def _start(self, params: Any, batch: list[tuple[np.ndarray, PictureBox]], dtype: np.dtype) -> Any:
        """Start at most one tile per device; devices without a tile compute nothing."""
        if dtype not in self._functions:
            self._functions[dtype] = parallel.pmap(
                _tile_function(self._module.clone(dtype=dtype)),
                in_axes=(None, 0, 0),
                out_axes=0,
                devices=self.devices,
            )
        tiles = np.zeros((len(self.devices), *batch[0][0].shape), np.float32)
        inside = np.zeros((len(self.devices), 4), np.int32)
        for i, (tile, where) in enumerate(batch):
            tiles[i], inside[i] = tile, where
        on_devices = parallel.shard({"tiles": tiles, "inside": inside}, self.devices)
        return self._functions[dtype](params, on_devices["tiles"], on_devices["inside"])

    def _finish(self, params: Any, batch: list, started: Any) -> Iterator[np.ndarray]:
        enlarged, finite = started
        finite = np.asarray(finite)
        for i, shard in zip(range(len(batch)), enlarged.addressable_shards, strict=False):
            yield np.asarray(shard.data)[0, 0] if finite[i] else self._repeat(params, batch[i])

    def _repeat(self, params: Any, tile: tuple[np.ndarray, PictureBox]) -> np.ndarray:
        """Compute a tile again, in float32."""
        if self._dtype != np.float32:
            enlarged, finite = self._start(params, [tile], np.dtype(np.float32))
            if np.asarray(finite)[0]:
                return np.asarray(enlarged.addressable_shards[0].data)[0, 0]
        raise InferenceError(
            "the network's result is not finite (NaN or infinity), in float32 too. Its weights are damaged."
        )


def head_radius(module: Generator) -> int | None:
    """How far the second part of a network in two parts sees, in pixels of the trunk; None: it runs whole."""
    return getattr(module, "head_radius", None)


def _tile_function(module: Generator) -> Callable:
    radius = head_radius(module)

    def run(params, tile, inside):
        size = tile.shape[1] // module.unshuffle
        y0, y1, x0, x1 = inside
        place = jnp.arange(size)
        mask = ((place >= y0) & (place < y1))[:, None] & ((place >= x0) & (place < x1))
        mask = mask[None, :, :, None]
        if radius is None:
            return module.apply({"params": params}, tile, mask)
        features = module.apply({"params": params}, tile, mask, method="extract")

        def reconstruct(features, mask):
            return module.apply({"params": params}, features, mask, method="reconstruct")

        return _in_bands(reconstruct, features, mask, radius)

    def tile_function(params, tile, inside):
        inside = inside[0]
        side = tile.shape[1] * module.scale
        sr = lax.cond(
            inside[0] < inside[1],
            lambda: run(params, tile, inside).astype(jnp.float32),
            lambda: jnp.zeros((1, side, side, module.num_out_ch), jnp.float32),
        )
        return sr, jnp.isfinite(sr).all()

    return tile_function


def _in_bands(
    reconstruct: Callable, features: Float[Array, "1 s s f"], mask: Bool[Array, "1 s s 1"], radius: int
) -> Float[Array, "1 zoom*s zoom*s c"]:
    """Apply `reconstruct`, which sees `radius` pixels of the trunk far, to one band of rows after another."""
    size = features.shape[1]
    count = -(-size // BAND_ROWS)
    if count == 1:
        return reconstruct(features, mask)
    rows = -(-size // count)
    # Rows above and below the tile are outside the mask.
    pad = ((0, 0), (radius, radius + count * rows - size), (0, 0), (0, 0))
    features, mask = jnp.pad(features, pad), jnp.pad(mask, pad)

    def band(start):
        part = (lax.dynamic_slice_in_dim(x, start, rows + 2 * radius, axis=1) for x in (features, mask))
        sr = reconstruct(*part)
        rim = sr.shape[1] * radius // (rows + 2 * radius)
        return sr[0, rim : sr.shape[1] - rim]

    bands = lax.map(band, jnp.arange(count) * rows)
    sr = bands.reshape(-1, *bands.shape[2:])
    return sr[None, : sr.shape[1]]
