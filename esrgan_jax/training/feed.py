"""Batches on their way to the devices, and how long the devices had to wait for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax

from esrgan_jax.system import parallel
from esrgan_jax.training.steps import Batch

if TYPE_CHECKING:
    from grain import DatasetIterator


class DeviceFeed:
    """Takes batches from an iterator and spreads them over the devices.

    Attributes:
      seconds_waited: seconds for which the devices had nothing to do before the last batch came.
    """

    def __init__(self, data: DatasetIterator, devices: Sequence[jax.Device]):
        self.seconds_waited = 0.0
        self._data, self._devices = data, devices
        self._timer = ThreadPoolExecutor(1, thread_name_prefix="feed")

    def next(self, running: Any) -> Batch:
        """The next batch, once the devices are done with `running`, the results of the iteration before.

        So the devices run one iteration ahead of what the host has seen, no more.
        """
        done = self._timer.submit(_time_when_done, running)
        batch = parallel.shard(next(self._data), self._devices)
        here = time.perf_counter()
        self.seconds_waited = max(0.0, here - done.result())
        return batch

    def close(self) -> None:
        """Ends the threads of the data."""
        self._timer.shutdown()
        self._data.close()


def _time_when_done(arrays: Any) -> float:
    jax.block_until_ready(arrays)
    return time.perf_counter()
