"""A network compiled for square tiles, one tile a device and call."""

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
from esrgan_jax.models import RRDBNet
from esrgan_jax.system import parallel

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Float32

PictureBox = tuple[int, int, int, int]
"""y0, y1, x0, x1 of the picture in a tile, in pixels of the trunk; what lies outside does not count.

Where it is empty nothing is computed.
"""

BAND_ROWS = 64
"""Rows of the trunk that are enlarged at once."""

RIM = 2
"""How far `RRDBNet.reconstruct` sees, in pixels of the trunk."""


class TileNetwork:
    """Runs tiles of one size through a network, as many at once as there are devices.

    Compiles once for each size. The part of the network behind the trunk, which needs most of the memory, goes over
    a tile in bands.

    Args:
      dtype: computed in; tiles that come out not finite are computed again in float32.
    """

    def __init__(self, module: RRDBNet, dtype: Any, devices: Sequence[jax.Device]):
        self.devices = devices
        self._dtype = jnp.dtype(dtype)
        self._module = module.clone(remat=False)
        self._functions: dict[Any, Callable] = {}

    def stream(
        self, params: Any, tiles: Iterable[tuple[np.ndarray, PictureBox]]
    ) -> Iterator[Float32[np.ndarray, "scale*s scale*s c"]]:
        """Yields the enlarged tiles in their order; the devices work on the next ones meanwhile.

        Args:
          params: on every device, as `parallel.replicate` puts them.
          tiles: [s, s, c], RGB or grey around [0, 1], and where in them the picture is.

        Raises:
          InferenceError: a tile is not finite in float32 either.
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
        """Starts the devices on at most one tile each; those without one do nothing."""
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
        """Computes a tile in float32 that was not finite."""
        if self._dtype != np.float32:
            enlarged, finite = self._start(params, [tile], np.dtype(np.float32))
            if np.asarray(finite)[0]:
                return np.asarray(enlarged.addressable_shards[0].data)[0, 0]
        raise InferenceError(
            "the network's result holds values that are not finite (NaN or infinity), in float32 too: "
            "its weights are damaged, or the picture's values are far outside [0, 1]."
        )


def _tile_function(module: RRDBNet) -> Callable:
    def run(params, tile, inside):
        size = tile.shape[1] // module.unshuffle
        y0, y1, x0, x1 = inside
        place = jnp.arange(size)
        mask = ((place >= y0) & (place < y1))[:, None] & ((place >= x0) & (place < x1))
        mask = mask[None, :, :, None]
        features = module.apply({"params": params}, tile, mask, method="extract")

        def reconstruct(features, mask):
            return module.apply({"params": params}, features, mask, method="reconstruct")

        return _in_bands(reconstruct, features, mask)

    def tile_function(params, tile, inside):
        inside = inside[0]
        side = tile.shape[1] * module.scale
        sr = lax.cond(
            inside[0] < inside[1],
            lambda: run(params, tile, inside),
            lambda: jnp.zeros((1, side, side, module.num_out_ch), jnp.float32),
        )
        return sr, jnp.isfinite(sr).all()

    return tile_function


def _in_bands(
    reconstruct: Callable, features: Float[Array, "1 s s f"], mask: Bool[Array, "1 s s 1"]
) -> Float[Array, "1 zoom*s zoom*s c"]:
    """Applies `reconstruct` to bands of rows, one after the other."""
    size = features.shape[1]
    count = -(-size // BAND_ROWS)
    if count == 1:
        return reconstruct(features, mask)
    rows = -(-size // count)
    # Above and below the tile there is nothing, which the mask says.
    pad = ((0, 0), (RIM, RIM + count * rows - size), (0, 0), (0, 0))
    features, mask = jnp.pad(features, pad), jnp.pad(mask, pad)

    def band(start):
        part = (lax.dynamic_slice_in_dim(x, start, rows + 2 * RIM, axis=1) for x in (features, mask))
        sr = reconstruct(*part)
        rim = sr.shape[1] * RIM // (rows + 2 * RIM)
        return sr[0, rim:-rim]

    bands = lax.map(band, jnp.arange(count) * rows)
    sr = bands.reshape(-1, *bands.shape[2:])
    return sr[None, : sr.shape[1]]
