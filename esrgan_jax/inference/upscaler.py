"""A network with its parameters as a function from pictures of any size to larger pictures."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrgan_jax.errors import ConfigError
from esrgan_jax.inference.channels import channel_groups, check_image, from_network, to_dtype, to_network
from esrgan_jax.inference.enlarge import enlarge
from esrgan_jax.inference.orientation import ORIENTATIONS, Orientation
from esrgan_jax.inference.progress import Progress, TileCounter
from esrgan_jax.inference.tile_network import PictureBox, TileNetwork
from esrgan_jax.inference.tile_sizes import Overlap, TileSizes
from esrgan_jax.inference.tiling import Span, stitch
from esrgan_jax.system import parallel
from esrgan_jax.system.devices import local_devices

if TYPE_CHECKING:
    from jaxtyping import Num

    from esrgan_jax.models.network import Generator
    from esrgan_jax.weights.load import PathOrName


class Upscaler:
    """Enlarges pictures of any size, tile by tile; compiles once per tile size.

        upscaler = Upscaler("RealESRGAN_x4plus.pth")
        large = upscaler("small.jpg")  # or a PIL image, a uint8, uint16 or float array, or a list of these

    The picture stays on the host; square tiles of it go to the devices, one per device and call.

    Args:
      model: a .pth or .safetensors file, a run folder or the name of a published model, as `load_model` takes them
        (`from_file` has `key` too); or a generator, see `models.network.Generator`.
      params: the generator's linen parameters, on devices or on the host; None: set `params` before use.
      dtype: dtype of the computation, "float32" or "bfloat16" (or the jax dtypes). None: the generator's, else
        bfloat16 on accelerators and float32 on CPUs. Tiles whose result is not finite are computed again in float32.
      tile: tile side in pixels of the input. None: 64, 128, 256 or 512 pixels of the trunk (times the generator's
        `unshuffle`), whichever needs the least work of those that fit into memory.
      overlap: pixels of the input that neighbouring tiles share, blended smoothly; or "exact": as many as the
        network sees, so that the result is that of the whole picture at once. None: exact where that is no more than
        DEFAULT_OVERLAP, as for SRVGGNetCompact, else DEFAULT_OVERLAP, or half a tile where that is less.
      devices: local devices to use; None: all.
      ensemble: average over the eight flips and rotations of each tile: eight times the work.

    Attributes:
      scale: output size / input size.
      channels: channels of the pictures that the network takes, 3 or 1.
      dtype: dtype of the computation.

    Raises:
      WeightFileError: `model` does not exist, or is no generator.
      ConfigError: `tile` or `overlap` cannot be used, or the network is not for pictures.
    """

    def __init__(
        self,
        model: Generator | PathOrName,
        params: Any = None,
        *,
        dtype: Any = None,
        tile: int | None = None,
        overlap: Overlap | None = None,
        devices: Sequence[jax.Device] | None = None,
        ensemble: bool = False,
    ):
        if isinstance(model, str | os.PathLike):
            if params is not None:
                raise ValueError(
                    f"`params` belong to a generator, but `model` is the file {model}. Leave them out."
                )
            module, params = _load(model)
        else:
            module = model
            _check_channels(module, "the network")
        self.scale = module.scale
        self.channels = module.num_in_ch
        devices = list(devices or local_devices())
        self._unshuffle = module.unshuffle
        self.dtype = _choose_dtype(dtype, module, devices)
        self._orientations = ORIENTATIONS if ensemble else ORIENTATIONS[:1]
        self._sizes = TileSizes(module, tile, overlap, self.dtype, devices)
        self._network = TileNetwork(module, self.dtype, devices)
        self.params = params

    __call__ = enlarge  # see inference/enlarge.py

    @property
    def params(self) -> Any:
        """The network's parameters, on every device; setting others compiles nothing."""
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
        denoise: float | None = None,
        dtype: Any = None,
        tile: int | None = None,
        overlap: Overlap | None = None,
        devices: Sequence[jax.Device] | None = None,
        ensemble: bool = False,
    ) -> Upscaler:
        """Return the Upscaler of a .pth or .safetensors file, a run folder, or a published model.

        Args:
          path_or_name, key, denoise: see `esrgan_jax.load_model`; the other arguments are the class's.

        Raises:
          WeightFileError: the model does not exist, or is no generator.
          ConfigError: see the class.
        """
        module, params = _load(path_or_name, key, denoise)
        return cls(
            module, params, dtype=dtype, tile=tile, overlap=overlap, devices=devices, ensemble=ensemble
        )

    def tile_count(self, height: int, width: int, channels: int = 3) -> int:
        """Return the number of tiles of a picture of that size; with 4 channels, those of alpha included."""
        grid = self._sizes.choose(-(-height // self._unshuffle), -(-width // self._unshuffle))
        return grid.count * len(channel_groups(channels, self.channels)) * len(self._orientations)

    def strips(
        self, image: Num[np.ndarray, "h w *c"], progress: Progress | None = None
    ) -> Iterator[tuple[int, Num[np.ndarray, "rows scale*w *c"]]]:
        """Return the enlarged picture in strips (y0, rows), from top to bottom without gaps.

        For outputs larger than memory: one row of tiles is in memory at a time. The picture is checked by the call;
        everything else happens while the strips are taken.

        Args:
          image: a single array, see `enlarge`.
          progress: called after each tile.

        Raises:
          ValueError, InferenceError: see `enlarge`.
        """
        check_image(image)
        if self._params is None:
            raise ValueError(
                "the network has no parameters: give Upscaler `params`, or set `upscaler.params`."
            )
        return self._strips(image, TileCounter(progress))

    def _strips(self, image: np.ndarray, counter: TileCounter) -> Iterator[tuple[int, np.ndarray]]:
        u, zoom = self._unshuffle, self._unshuffle * self.scale
        height, width = image.shape[0] * self.scale, image.shape[1] * self.scale
        picture = image.reshape(*image.shape[:2], -1)
        if image.shape[0] % u or image.shape[1] % u:
            # The network takes blocks of u x u pixels: other sizes are mirrored up to whole blocks.
            pad = [(0, -image.shape[0] % u), (0, -image.shape[1] % u), (0, 0)]
            picture = np.pad(picture, pad, mode="symmetric")
        finished = 0  # rows of the output
        while finished < height:
            grid = self._sizes.choose(picture.shape[0] // u, picture.shape[1] // u)
            rows, columns = grid.split(zoom, height, width)
            # After memory ran out, smaller tiles continue below the finished strips.
            rows = [row for row in rows if row.high > finished]
            tiles = self._enlarge(picture, grid.tile, rows, columns, counter)
            try:
                for y, strip in stitch(rows, columns, zoom, tiles):
                    strip = strip[max(finished - y, 0) :]
                    if not len(strip):
                        continue
                    above, finished = finished, finished + len(strip)
                    result = [to_dtype(strip, image.dtype).reshape(-1, width, *image.shape[2:])]
                    del strip  # as in stitch: the caller alone holds it
                    yield above, result.pop()
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                self._sizes.halve(grid.tile)

    def _enlarge(
        self, picture: np.ndarray, side: int, rows: list[Span], columns: list[Span], counter: TileCounter
    ) -> Iterator[np.ndarray]:
        """Yield the enlarged tiles in reading order, with the channels of the picture."""
        parts = channel_groups(picture.shape[2], self.channels)
        jobs = [TileJob(*what) for what in itertools.product(rows, columns, parts, self._orientations)]
        inputs = (self._tile_input(picture, side, job) for job in jobs)
        results = counter.watch(self._network.stream(self.params, inputs), len(jobs))
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
        """Return a tile as the network takes it, and the part of it that the picture covers."""
        u = self._unshuffle
        y, x = job.row.start * u, job.column.start * u
        part = to_network(picture[y : y + side * u, x : x + side * u, job.part], self.channels)
        tile = np.zeros((side * u, side * u, self.channels), np.float32)
        tile[: part.shape[0], : part.shape[1]] = part
        inside = job.orientation.transform_box(part.shape[0] // u, part.shape[1] // u, side)
        return job.orientation.apply(tile), inside


class TileJob(NamedTuple):
    """One input of the network: some channels of a tile, turned."""

    row: Span
    column: Span
    part: slice
    orientation: Orientation


def _load(
    path_or_name: PathOrName, key: str | None = None, denoise: float | None = None
) -> tuple[Generator, Any]:
    from esrgan_jax.weights.load import load_model

    module, variables = load_model(path_or_name, key=key, denoise=denoise)
    _check_channels(module, str(path_or_name))
    return module, variables["params"]


def _check_channels(module: Generator, name: str) -> None:
    channels = (module.num_in_ch, module.num_out_ch)
    if channels not in ((1, 1), (3, 3)):
        raise ConfigError(
            f"{name} takes {channels[0]} channels and returns {channels[1]}. "
            "Pictures need a network that takes and returns 3 (RGB) or 1 (grey)."
        )


def _choose_dtype(dtype: Any, module: Generator, devices: Sequence[jax.Device]) -> Any:
    if dtype is None:
        dtype = module.dtype or ("float32" if devices[0].platform == "cpu" else "bfloat16")
    return jnp.dtype(dtype)
