"""The batches of a stage: from patch number to device, and how long the devices had to wait for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax

from esrgan_jax.data.pipeline import LocatedPatch, locate_patches, make_train_iterator, state_at
from esrgan_jax.system import parallel
from esrgan_jax.training.run import RunData, Stage
from esrgan_jax.training.steps import Batch

if TYPE_CHECKING:
    from grain import DatasetIterator


def build_data(data: RunData, stage: Stage, patches: int) -> DatasetIterator:
    """Return the training batches of a stage that has used so many patches: this process's share of them."""
    iterator = make_train_iterator(
        data.train,
        **stage.patches,
        batch_size=stage.batch_size,
        num_threads=data.num_threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        skipped=data.skipped,
        number_patches=stage.recipe.prepare is not None,
        hr_only=stage.hr_only,
    )
    if patches:
        iterator.set_state(state_at(patches, jax.process_count()))
    return iterator


def locate_batch(data: RunData, stage: Stage, patches: int) -> list[LocatedPatch]:
    """Return where the batch comes from that all processes together take after so many patches of a stage."""
    numbers = range(patches, patches + stage.batch_size)
    return locate_patches(data.train, numbers, **stage.patches, skipped=data.skipped)


class DeviceFeed:
    """Takes batches from an iterator and spreads them over the devices.

    Attributes:
      seconds_waited: for which the devices had nothing to do before the last batch came.
    """

    def __init__(self, data: DatasetIterator, devices: Sequence[jax.Device]):
        self.seconds_waited = 0.0
        self._data, self._devices = data, devices
        self._timer = ThreadPoolExecutor(1, thread_name_prefix="feed")

    def next(self, running: Any) -> Batch:
        """Return the next batch, once the devices are done with `running`, the results of the iteration before.

        So the devices run one iteration ahead of what the host has seen, no more.
        """
        done = self._timer.submit(_time_when_done, running)
        batch = parallel.shard(next(self._data), self._devices)
        here = time.perf_counter()
        self.seconds_waited = max(0.0, here - done.result())
        return batch

    def close(self) -> None:
        """End the threads of the data."""
        self._timer.shutdown()
        self._data.close()


def _time_when_done(arrays: Any) -> float:
    jax.block_until_ready(arrays)
    return time.perf_counter()
