"""The processes of one run, on one or more machines: start, agreement, end.

Only process 0 reads checkpoints and writes files. JAX's coordination service watches all of them: when one dies, the
others end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from esrgan_jax.errors import ConfigError
from esrgan_jax.system import parallel
from esrgan_jax.system.exit import explain_abort

T = TypeVar("T")
AUTO = "auto"
HEARTBEAT_TIMEOUT_SECONDS = 30
"""Seconds without a heartbeat after which a process counts as dead."""

ABORT_MESSAGE = (
    "train.py: this process ended because it was killed, or because another one died (the lines above, and those of "
    "the other processes, say which): start all of them again, and they go on from the newest checkpoint."
)


def initialize(settings: Mapping[str, Any]) -> None:
    """Connect to the other processes, if the configuration has several; to be called before JAX is used.

    Args:
      settings: coordinator_address ("HOST:PORT" of process 0, or "auto": as Slurm, Open MPI, a TPU VM or GKE say),
        num_processes, process_id; all None: this process is alone.

    Raises:
      ConfigError: a field is missing or wrong, or the others cannot be found.
    """
    address, count, own = (settings[name] for name in ("coordinator_address", "num_processes", "process_id"))
    if address is None and count is None and own is None:
        return
    if address != AUTO and None in (address, count, own):
        raise ConfigError(
            f"distributed.coordinator_address (={address}), distributed.num_processes (={count}) and "
            f"distributed.process_id (={own}) go together: give all three, or coordinator_address={AUTO} alone."
        )
    if address != AUTO and not (0 <= own < count and str(address).rpartition(":")[2].isdigit()):
        raise ConfigError(
            f"distributed.coordinator_address (={address}) must be HOST:PORT, and distributed.process_id "
            f"(={own}) 0 to distributed.num_processes - 1 (={count - 1})."
        )
    explain_abort(ABORT_MESSAGE)  # JAX ends this process from C++ when another one dies: no Python runs then
    jax.config.update("jax_enable_preemption_service", False)  # training/stopping.py takes SIGTERM
    given = (
        {} if address == AUTO else {"coordinator_address": address, "cluster_detection_method": "deactivate"}
    )
    try:
        jax.distributed.initialize(
            num_processes=count, process_id=own, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_SECONDS, **given
        )
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"distributed.coordinator_address (={address}) does not work ({reason}): see docs/multihost.md."
        ) from error


def is_first() -> bool:
    """Return whether this is process 0, which writes."""
    return jax.process_index() == 0


def from_first(tree: Any) -> Any:
    """Return process 0's tree of numbers and arrays, as numpy arrays, on every process."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


def first_does(work: Callable[[], T]) -> T | None:
    """Return what `work` returns in process 0, which alone does it; None in the others.

    Raises:
      Exception: in process 0, what `work` raised; in the others then a ConfigError, so that all of them end.
    """
    done: T | None = None
    problem: Exception | None = None
    if is_first():
        try:
            done = work()
        except Exception as error:
            problem = error
    if from_first(np.int32(problem is not None)):
        raise problem or ConfigError(
            "Process 0 of this run ends, and says why: mend that, and start all of them again."
        )
    return done


class Agreement:
    """An all-reduce over all processes: does any of them say yes?

    All have to ask equally often and in the same order.
    """

    def __init__(self, devices: Sequence[jax.Device]):
        self._count = len(devices)
        self._sum = parallel.pmap(
            parallel.sum_over_devices,
            in_axes=0,
            out_axes=None,
            devices=parallel.devices_of_all_processes(devices),
        )
        self._asked: jax.Array | None = None

    def any(self, mine: bool) -> bool:
        """Return whether any process says yes."""
        if jax.process_count() == 1:
            return mine
        return bool(self._sum(np.full(self._count, int(mine), np.int32)))

    def any_last_time(self, mine: bool) -> bool:
        """Return whether any process said yes in the previous call, which has been answered: nothing waits."""
        if jax.process_count() == 1:
            return mine
        before, self._asked = self._asked, self._sum(np.full(self._count, int(mine), np.int32))
        return before is not None and bool(before)


def shutdown() -> None:
    """Disconnect from the other processes, after all of them have finished."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()
