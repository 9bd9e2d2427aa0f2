"""A network and its parameters as a function from pictures to larger pictures, of any size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrgan_jax.errors import ConfigError
from esrgan_jax.inference.channels import channel_groups, check_image, from_network, to_dtype, to_network
from esrgan_jax.inference.orientation import ORIENTATIONS, Orientation
from esrgan_jax.inference.tile_network import PictureBox, TileNetwork
from esrgan_jax.inference.tile_sizes import Overlap, TileSizes
from esrgan_jax.inference.tiling import Span, stitch
from esrgan_jax.models import RRDBNet
from esrgan_jax.system import parallel

if TYPE_CHECKING:
    from jaxtyping import Num

    from esrgan_jax.weights.load import PathOrName

OnTile = Callable[[int, int], None]
"""Called after each tile with the number of tiles done and the number of tiles in all.

The latter grows when the device has run out of memory and goes on with smaller tiles.
"""


class Upscaler:
    """Upscales pictures of any size, tile by tile; compiles once for each size of tile.

        upscaler = Upscaler.from_file("RealESRGAN_x4plus.pth")
        large = upscaler(small)

    The picture stays on the host; square tiles of it travel to the devices, one a device and call.

    Args:
      module: the generator.
      params: its linen parameters, on devices or on the host; None, to be set before use.
      dtype: computed in: "float32" or "bfloat16" (or the jax dtypes). None: the module's own, else bfloat16 on
        accelerators and float32 on a CPU. Tiles that are not finite are computed again in float32.
      tile: side of a tile in pixels of the input. None: 64, 128, 256 or 512 trunk pixels (times 1, 2 or 4
        pixels of the input: `module.unshuffle`), the smallest that holds the picture, else the largest
        that the memory allows.
      overlap: how many pixels of the input neighbouring tiles share, blended smoothly; or "exact": as many
        as the network sees, so that the result is that of the whole picture at once. None: DEFAULT_OVERLAP, or
        half a tile where that is less.
      devices: the local devices to use; None: all.
      ensemble: the mean over the eight flips and rotations of each tile; eight times the work.

    Attributes:
      scale: output size / input size.
      channels: of the pictures that the network takes, 3 or 1.
      dtype: computed in.

    Raises:
      ConfigError: `tile` or `overlap` cannot be used; one sentence.
    """

    def __init__(
        self,
        module: RRDBNet,
        params: Any,
        *,
        dtype: Any = None,
        tile: int | None = None,
        overlap: Overlap | None = None,
        devices: Sequence[jax.Device] | None = None,
        ensemble: bool = False,
    ):
        self.scale = module.scale
        self.channels = module.num_in_ch
        _check_channels(module, "the network")
        devices = list(devices or jax.local_devices())
        self._unshuffle = module.unshuffle
        self.dtype = _choose_dtype(dtype, module, devices)
        self._orientations = ORIENTATIONS if ensemble else ORIENTATIONS[:1]
        self._sizes = TileSizes(module, tile, overlap, self.dtype, devices)
        self._network = TileNetwork(module, self.dtype, devices)
        self.params = params

    @property
    def params(self) -> Any:
        """The network's parameters, on every device; can be set anew, which compiles nothing."""
        return self._params

    @params.setter
    def params(self, params: Any) -> None:
        self._params = None if params is None else parallel.replicate(params, self._network.devices)

    @classmethod
    def from_file(
        cls,
        path_or_name: PathOrName,
        *,
        key: str | None = None,
        dtype: Any = None,
        tile: int | None = None,
        overlap: Overlap | None = None,
        devices: Sequence[jax.Device] | None = None,
        ensemble: bool = False,
    ) -> Upscaler:
        """The Upscaler of a .pth or .safetensors file, a run folder, or a name of the zoo.

        Args:
          path_or_name, key: see `esrgan_jax.load_model`; the other arguments are the class's.

        Raises:
          WeightFileError: there is no such thing, or it is no generator.
          ConfigError: `tile` or `overlap` cannot be used.
        """
        from esrgan_jax.weights.load import load_model

        module, variables = load_model(path_or_name, key=key)
        _check_channels(module, str(path_or_name))
        options = {"dtype": dtype, "tile": tile, "overlap": overlap, "devices": devices, "ensemble": ensemble}
        return cls(module, variables["params"], **options)

    def tile_count(self, height: int, width: int, channels: int = 3) -> int:
        """How many tiles a picture of that size takes; with 4 channels, those of alpha are counted too."""
        grid = self._sizes.choose(-(-height // self._unshuffle), -(-width // self._unshuffle))
        return grid.count * len(channel_groups(channels, self.channels)) * len(self._orientations)

    def __call__(
        self, image: Num[np.ndarray, "h w *c"], on_tile: OnTile | None = None
    ) -> Num[np.ndarray, "scale*h scale*w *c"]:
        """The enlarged picture, of the same dtype and channels.

        Args:
          image: [H, W] or [H, W, 1] grey, [H, W, 3] RGB or [H, W, 4] RGB and alpha, any H and W from 1. uint8
            and uint16 span their whole range, floats [0, 1]. Grey goes through an RGB network as three equal
            channels and comes back as their luma; alpha goes through it as a grey picture of its own (leave it
            out, and treat it otherwise, if that is not wanted). Colours are not premultiplied.
          on_tile: called after each tile.

        Returns:
          Integers rounded and clipped; floats not clipped.

        Raises:
          ValueError: an array of another shape or dtype, or floats that are not finite.
          InferenceError: the result is not finite, or the device's memory is too small for the smallest tile.
        """
        strips = self.strips(image, on_tile)
        shape = (image.shape[0] * self.scale, image.shape[1] * self.scale, *image.shape[2:])
        result = np.empty(shape, image.dtype)
        for y, rows in strips:
            result[y : y + len(rows)] = rows
        return result

    def strips(
        self, image: Num[np.ndarray, "h w *c"], on_tile: OnTile | None = None
    ) -> Iterator[tuple[int, Num[np.ndarray, "rows scale*w *c"]]]:
        """The enlarged picture in strips (y0, rows), from top to bottom without gaps.

        For outputs larger than memory: one row of tiles is held at a time. The picture is checked on the call;
        all else happens while the strips are taken. Arguments and errors are those of `__call__`.
        """
        check_image(image)
        return self._strips(image, _TileCounter(on_tile))

    def _strips(self, image: np.ndarray, progress: _TileCounter) -> Iterator[tuple[int, np.ndarray]]:
        u, zoom = self._unshuffle, self._unshuffle * self.scale
        height, width = image.shape[0] * self.scale, image.shape[1] * self.scale
        picture = image.reshape(*image.shape[:2], -1)
        if image.shape[0] % u or image.shape[1] % u:
            # In front of scale 2 and 1 the network takes blocks of pixels: odd sizes are mirrored up to whole ones.
            pad = [(0, -image.shape[0] % u), (0, -image.shape[1] % u), (0, 0)]
            picture = np.pad(picture, pad, mode="symmetric")
        finished = 0  # rows of the output
        while finished < height:
            grid = self._sizes.choose(picture.shape[0] // u, picture.shape[1] // u)
            rows, columns = grid.split(zoom, height, width)
            # When the memory ran out, smaller tiles go on where the larger ones have stopped.
            rows = [row for row in rows if row.high > finished]
            tiles = self._enlarge(picture, grid.tile, rows, columns, progress)
            try:
                for y, strip in stitch(rows, columns, zoom, tiles):
                    strip = strip[max(finished - y, 0) :]
                    if not len(strip):
                        continue
                    above, finished = finished, finished + len(strip)
                    result = [to_dtype(strip, image.dtype).reshape(-1, width, *image.shape[2:])]
                    del strip  # as in stitch: what is handed out is held by nobody else
                    yield above, result.pop()
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                self._sizes.halve(grid.tile)

    def _enlarge(
        self, picture: np.ndarray, side: int, rows: list[Span], columns: list[Span], progress: _TileCounter
    ) -> Iterator[np.ndarray]:
        """Yields the enlarged tiles in reading order, with the channels of the picture."""
        parts = channel_groups(picture.shape[2], self.channels)
        jobs = [TileJob(*what) for what in itertools.product(rows, columns, parts, self._orientations)]
        inputs = (self._tile_input(picture, side, job) for job in jobs)
        results = progress.watch(self._network.stream(self.params, inputs), len(jobs))
        for _ in range(len(rows) * len(columns)):
            merged = []
            for part in parts:
                sr = next(results)
                for orientation in self._orientations[1:]:
                    sr = sr + orientation.undo(next(results))
                if len(self._orientations) > 1:
                    sr = sr / len(self._orientations)
                merged.append(from_network(sr, part.stop - part.start))
            yield merged[0] if len(merged) == 1 else np.concatenate(merged, axis=-1)

    def _tile_input(self, picture: np.ndarray, side: int, job: TileJob) -> tuple[np.ndarray, PictureBox]:
        """A tile as the network takes it, and where in it the picture is, in pixels of the trunk."""
        u = self._unshuffle
        y, x = job.row.start * u, job.column.start * u
        part = to_network(picture[y : y + side * u, x : x + side * u, job.part], self.channels)
        tile = np.zeros((side * u, side * u, self.channels), np.float32)
        tile[: part.shape[0], : part.shape[1]] = part
        inside = job.orientation.transform_box(part.shape[0] // u, part.shape[1] // u, side)
        return job.orientation.apply(tile), inside


class TileJob(NamedTuple):
    """What goes through the network at once: some channels of a tile, turned."""

    row: Span
    column: Span
    part: slice
    orientation: Orientation


class _TileCounter:
    """Counts finished tiles and says so."""

    def __init__(self, on_tile: OnTile | None):
        self._on_tile, self._done = on_tile, 0

    def watch(self, results: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
        """Passes `count` results on."""
        total = self._done + count
        for result in results:
            self._done += 1
            if self._on_tile:
                self._on_tile(self._done, total)
            yield result


def _check_channels(module: RRDBNet, name: str) -> None:
    channels = (module.num_in_ch, module.num_out_ch)
    if channels not in ((1, 1), (3, 3)):
        raise ConfigError(
            f"{name} takes {channels[0]} channels and gives {channels[1]}: "
            "pictures need a network that takes and gives 3 (RGB), or 1 (grey)."
        )


def _choose_dtype(dtype: Any, module: RRDBNet, devices: Sequence[jax.Device]) -> Any:
    if dtype is None:
        dtype = module.dtype or ("float32" if devices[0].platform == "cpu" else "bfloat16")
    return jnp.dtype(dtype)
