"""Training batches from pairs, read ahead in threads; the position can be saved and restored exactly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import grain
import numpy as np

from esrgan_jax.data.crops import crop_pair, draw_crop
from esrgan_jax.data.order import Order
from esrgan_jax.data.pairs import Pair, PairSource
from esrgan_jax.data.sources import Mixture, check_patch_fits, check_patch_sizes
from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.system.devices import available_cores


def make_train_iterator(
    source: PairSource,
    *,
    scale: int,
    gt_size: int,
    batch_size: int,
    seed: int,
    use_hflip: bool = True,
    use_rot: bool = True,
    num_threads: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
    skipped: dict[str, str] | None = None,
    number_patches: bool = False,
    hr_only: bool = False,
) -> grain.DatasetIterator[Pair]:
    """Return an endless iterator of training batches; an epoch is one random patch of each image, shuffled anew.

    Patch number n of a run depends on (seed, n) alone. Batch k holds the patches k * batch_size to
    (k + 1) * batch_size - 1, of which each process gets every process_count-th: the numbers of processes and threads
    change nothing. `get_state()` and `set_state()` have the position, see `state_at`; patches read ahead are read
    again after a restore. `close()` ends the threads.

    Each source of a `Mixture` has its epochs and its share of the patches.

    Args:
      source: the images.
      scale: how many times HR is larger than LR.
      gt_size: side of the HR patch in pixels, a multiple of `scale`.
      batch_size: patches in a batch over all processes, a multiple of `process_count`.
      seed: 0 or larger.
      use_hflip: mirror left and right at random.
      use_rot: mirror top and bottom and swap rows and columns at random.
      num_threads: threads that read ahead; None: half the CPU cores, between 2 and 8; 0: read in the caller's thread.
      process_index: of this process, from 0.
      process_count: number of processes that share a batch.
      skipped: None: a bad image (unreadable, smaller than the patch, or of unfit LR) is an error. A dict: the next
        good image of the epoch replaces it, the same for any number of processes; name and reason of the bad one
        are put into the dict by the reading threads.
      number_patches: also give the number n of each patch, as "patch" (uint32 [b]).
      hr_only: leave out "lr".

    Returns:
      An iterator of {"lr": uint8 [b, p, p, 3], "hr": uint8 [b, gt_size, gt_size, 3]} with p = gt_size / scale
      and b = batch_size / process_count. `next` raises the DataError of a bad image; if they are skipped, only when
      no image is left.

    Raises:
      ConfigError: sizes that do not divide, or a negative seed.
      DataError: an image is smaller than the patch; names it. If such images are skipped: all of them are.
    """
    if gt_size < scale or gt_size % scale:
        raise ConfigError(f"`gt_size` (={gt_size}) must be a multiple of the scale (={scale}).")
    if batch_size < 1 or batch_size % process_count:
        raise ConfigError(
            f"`batch_size` (={batch_size}) must be a multiple of the number of processes (={process_count})."
        )
    if seed < 0:
        raise ConfigError(f"`seed` (={seed}) must be 0 or larger.")
    check_patch_sizes(source, gt_size, skipped)
    if num_threads is None:
        num_threads = max(2, min(8, available_cores() // 2))

    def cut_patch(element: _Read, rng: np.random.Generator) -> Pair:
        lr, hr = element.pair["lr"], element.pair["hr"]
        place = draw_crop(lr.shape[:2], gt_size, scale, rng, use_hflip, use_rot)
        lr, hr = crop_pair(lr, hr, place, gt_size, scale)
        number = {"patch": np.asarray(element.patch, np.uint32)} if number_patches else {}
        return ({} if hr_only else {"lr": lr}) | {"hr": hr} | number

    patches = _random_map(cut_patch, source, gt_size, seed, skipped)
    # Divided among processes only after everything random, which depends on the index in the whole stream.
    patches = patches[process_index::process_count]
    local_batch_size = batch_size // process_count
    # Two batches ahead, counted in patches: grain's default of 500 would only use memory.
    ahead = max(2 * local_batch_size, num_threads)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=ahead)
    return iter(patches.to_iter_dataset(options).batch(local_batch_size, drop_remainder=True))


def state_at(patches: int, process_count: int = 1) -> dict[str, int]:
    """Return the state of an iterator of `make_train_iterator` after `patches` patches, counted over all processes.

    It is what `get_state()` returns in each process. After `set_state(state_at(step * batch_size, process_count))`
    the next batch is batch number `step`, from 0, whatever the numbers of processes and batch sizes were before.

    Raises:
      ConfigError: `patches` is not divisible by the number of processes.
    """
    if patches % process_count:
        raise ConfigError(
            f"{patches} patches cannot be shared out among {process_count} processes: choose a number of processes "
            "that divides the batch size."
        )
    return {"next_index": patches // process_count}


class LocatedPatch(NamedTuple):
    """Where a training patch comes from: the name of its image, then the fields of its `CropPlace`."""

    image: str
    y: int
    x: int
    flip_x: bool
    flip_y: bool
    transpose: bool


def locate_patches(
    source: PairSource,
    indices: Iterable[int],
    *,
    scale: int,
    gt_size: int,
    seed: int,
    use_hflip: bool = True,
    use_rot: bool = True,
    skipped: dict[str, str] | None = None,
) -> list[LocatedPatch]:
    """Return where the patches with these numbers come from, for the arguments that `make_train_iterator` got.

    Batch k of `batch_size` patches over all processes holds the numbers k * batch_size to (k + 1) * batch_size - 1.
    The images are read: a sixth of a second for a batch of sixteen that is not in memory.

    Raises:
      DataError: as from the iterator.
    """

    def locate(element: _Read, rng: np.random.Generator) -> LocatedPatch:
        place = draw_crop(element.pair["lr"].shape[:2], gt_size, scale, rng, use_hflip, use_rot)
        return LocatedPatch(source.name(element.image), *place)

    patches = _random_map(locate, source, gt_size, seed, skipped)
    return [patches[index] for index in indices]


class _Read(NamedTuple):
    patch: int
    image: int
    pair: Pair


def _random_map(
    function: Callable[[_Read, np.random.Generator], Any],
    source: PairSource,
    gt_size: int,
    seed: int,
    skipped: dict[str, str] | None,
) -> grain.MapDataset:
    """Apply `function` to each image of the stream, with a generator seeded by (seed, index)."""
    # Both seeds are derived here, not by grain's `.seed(n)`: a run that continues under a newer grain must see the
    # same patches.
    order_seed, patch_seed = (int(state) for state in np.random.SeedSequence(seed).generate_state(2))
    stream = _Stream(source, gt_size, order_seed, skipped)
    return grain.MapDataset.source(stream).random_map(function, seed=patch_seed)


class _Stream:
    """The endless sequence of images, as a source for grain."""

    def __init__(self, source: PairSource, gt_size: int, seed: int, skipped: dict[str, str] | None):
        self._source = source
        self._gt_size = gt_size
        sizes, weights = (
            (source.sizes, source.weights) if isinstance(source, Mixture) else ([len(source)], [1.0])
        )
        self._order = Order(sizes, weights, seed)
        self._skipped = skipped
        self._bad: set[int] = set()

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> _Read:
        for image in self._order.images(index):
            if image in self._bad:
                continue
            try:
                return _Read(index, image, self._read(image))
            except DataError as error:
                if self._skipped is None:
                    raise
                self._skipped[self._source.name(image)] = str(error)
                self._bad.add(image)
        raise DataError(
            f"No image is left to train on: {self._source.name(image)} and all others are skipped. "
            "esrgan-jax check-data shows why."
        )

    def _read(self, image: int) -> Pair:
        pair = self._source[image]
        # Only here the size of every image is known, for any kind of source.
        check_patch_fits(self._source.name(image), pair["hr"].shape[:2], self._gt_size)
        return pair
