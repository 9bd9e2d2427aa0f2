"""The device axis: how states and batches lie on the local devices, and how they become one.

States are whole on every device and have no device axis; batches are cut along it. All devices of all processes
share the axis `AXIS`, over which `mean` averages.
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
    """Copies a tree of arrays to every device, as `pmap` wants it.

    Through the host: arrays that share memory (parameters and their EMA at the start) come out separate, which
    donation needs, and the placement is pmap's own, which saves a second compilation.
    """
    return jax.device_put(jax.device_get(tree), _sharding(devices, PartitionSpec()))


def first_replica(tree: Any) -> Any:
    """The copy of a replicated tree that lies on the first device."""
    return jax.tree.map(lambda x: x.addressable_shards[0].data, tree)


def shard(batch: dict[str, np.ndarray], devices: Sequence[jax.Device] | None = None) -> dict[str, jax.Array]:
    """Spreads a host batch {name: [batch, ...]} over the devices: {name: [devices, batch/devices, ...]}.

    Raises:
      ConfigError: the batch cannot be cut into equal parts.
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
    """The mean over a mapped batch: of each array first, then over the devices."""
    return jax.lax.pmean(jnp.mean(x), AXIS)


def all_reduce_mean(tree: Any) -> Any:
    """Averages every leaf over the devices."""
    return jax.lax.pmean(tree, AXIS)


def sum_over_devices(x: Any) -> Any:
    """Adds a value up over the devices."""
    return jax.lax.psum(x, AXIS)


def from_first_device(tree: Any) -> Any:
    """Every leaf as the first device has it, on every device."""
    first = jax.lax.axis_index(AXIS) == 0
    return jax.lax.psum(jax.tree.map(lambda x: jnp.where(first, x, jnp.zeros_like(x)), tree), AXIS)


def pmap(
    function: Callable, *, in_axes: Any, out_axes: Any, donate_argnums: Any = (), devices=None
) -> Any:
    """`jax.pmap` over this project's axis and the chosen devices (None: every device of every process)."""
    return jax.pmap(
        function,
        axis_name=AXIS,
        in_axes=in_axes,
        out_axes=out_axes,
        donate_argnums=donate_argnums,
        devices=devices,
    )


def devices_of_all_processes(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """As many devices of every process as `devices` are of this one, for a `pmap` in which all take part."""
    return [
        device
        for process in range(jax.process_count())
        for device in jax.local_devices(process)[: len(devices)]
    ]
