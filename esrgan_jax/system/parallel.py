"""The device axis: placement of states and batches on the local devices, and reductions over them.

States are replicated and have no device axis; batches are split along it. All devices of all processes share the axis
`AXIS`, over which `mean` averages.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from esrgan_jax.errors import ConfigError

AXIS = "batch"


def _sharding(devices: Sequence[jax.Device] | None, spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.array(devices or jax.local_devices()), (AXIS,)), spec)


def replicate(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """Copy a tree of arrays to every device, placed as `pmap` does, which saves a second compilation.

    The copy goes through the host, so that arrays which share memory (parameters and their EMA at the start) become
    separate, as donation needs.
    """
    return jax.device_put(jax.device_get(tree), _sharding(devices, PartitionSpec()))


def first_replica(tree: Any) -> Any:
    """Return the copy of a replicated tree on the first device."""
    return jax.tree.map(lambda x: x.addressable_shards[0].data, tree)


def shard(batch: dict[str, np.ndarray], devices: Sequence[jax.Device] | None = None) -> dict[str, jax.Array]:
    """Split a host batch {name: [batch, ...]} over the devices: {name: [devices, batch/devices, ...]}.

    Raises:
      ConfigError: the batch cannot be split into equal parts.
    """
    sharding = _sharding(devices, PartitionSpec(AXIS))
    count = sharding.num_devices
    cut = {}
    for name, array in batch.items():
        if array.shape[0] % count:
            raise ConfigError(
                f"batch_size (={array.shape[0]}) must be divisible by the number of devices (={count}): "
                f"change it, or choose fewer devices with --config.num_devices."
            )
        cut[name] = array.reshape(count, array.shape[0] // count, *array.shape[1:])
    return jax.device_put(cut, sharding)


def mean(x: Any) -> Any:
    """Return the mean over a mapped batch: of each array first, then over the devices."""
    return jax.lax.pmean(jnp.mean(x), AXIS)


def total(x: Any) -> Any:
    """Return the sum over a mapped batch: over each array first, then over the devices."""
    return jax.lax.psum(jnp.sum(x), AXIS)


def all_reduce_mean(tree: Any) -> Any:
    """Average every leaf over the devices."""
    return jax.lax.pmean(tree, AXIS)


def sum_over_devices(x: Any) -> Any:
    """Sum a value over the devices."""
    return jax.lax.psum(x, AXIS)


def from_first_device(tree: Any) -> Any:
    """Return every leaf as on the first device, on every device."""
    first = jax.lax.axis_index(AXIS) == 0
    return jax.lax.psum(jax.tree.map(lambda x: jnp.where(first, x, jnp.zeros_like(x)), tree), AXIS)


def pmap(function: Callable, *, in_axes: Any, out_axes: Any, donate_argnums: Any = (), devices=None) -> Any:
    """Apply `jax.pmap` over `AXIS` and the chosen devices (None: all devices of all processes)."""
    return jax.pmap(
        function,
        axis_name=AXIS,
        in_axes=in_axes,
        out_axes=out_axes,
        donate_argnums=donate_argnums,
        devices=devices,
    )


def devices_of_all_processes(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Return as many devices of every process as `devices` has of this one, for a `pmap` over all of them."""
    return [
        device
        for process in range(jax.process_count())
        for device in jax.local_devices(process)[: len(devices)]
    ]
