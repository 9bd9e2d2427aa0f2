"""The device axis: how states and batches lie on the local devices, and how they become one.

States are whole on every device and have no device axis; batches are cut along it. All devices of all processes
share the axis `AXIS`, over which `mean` averages.
"""

import contextlib
import ctypes
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from esrgan_jax.errors import ConfigError
from esrgan_jax.files import cache_dir

AXIS = "batch"


def start_cpu_devices(count: int) -> None:
    """Splits the CPU into `count` virtual devices; without effect on GPUs and TPUs, or once JAX has started.

    One device a core is faster than one for all, whose work between two convolutions keeps one core waiting. A
    number that the user chose (in `XLA_FLAGS` or `JAX_NUM_CPU_DEVICES`) stays.
    """
    if count > 1:
        # XLA:CPU runs all devices on one pool of a thread a core. All devices but one may wait in an all-reduce and
        # hold a thread each; without a thread a core besides, long runs stood still sooner or later (jaxlib
        # 0.10.2). More threads than that only get into each other's way: a training iteration took 5 to 12% longer
        # with twice as many. The pool's size is read from NPROC when JAX starts.
        os.environ.setdefault("NPROC", str((os.cpu_count() or 1) + count - 1))
        # The devices fill the cores; an order of work for parallel execution within a device costs memory (a sixth).
        _set_xla_flag("xla_cpu_enable_concurrency_optimized_scheduler", "false")
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or getattr(jax.config, "jax_num_cpu_devices", -1) > 0:
        return
    with contextlib.suppress(RuntimeError):  # JAX has started
        jax.config.update("jax_num_cpu_devices", count)


def _set_xla_flag(name: str, value: str) -> None:
    """Sets a flag of XLA that the user did not set, with versions that are known to have it: others would end."""
    flags = os.environ.get("XLA_FLAGS", "")
    if name not in flags and jax.__version_info__ < (0, 13):
        os.environ["XLA_FLAGS"] = f"{flags} --{name}={value}".strip()


def use_compilation_cache() -> None:
    """Keeps what XLA compiles from now on for later runs, in `cache_dir()/xla`; a folder the user chose stays.

    Where that cannot be written, nothing is kept.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        folder = cache_dir() / "xla"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # The default leaves out what compiles in less than a second: small networks do.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def cores_dividing(batch_sizes: Sequence[int]) -> int:
    """The largest number of this machine's cores that divides every batch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    common = math.gcd(*batch_sizes) or 1
    return max(count for count in range(1, cores + 1) if common % count == 0)


def choose_devices(count: int | None = None) -> list[jax.Device]:
    """The first `count` local devices (None: all of them).

    Raises:
      ConfigError: there are not so many.
    """
    devices = jax.local_devices()
    if count is None:
        return devices
    if not 1 <= count <= len(devices):
        raise ConfigError(
            f"num_devices (={count}) must be 1 to {len(devices)}, the devices this process has."
        )
    return devices[:count]


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
) -> Callable:
    """`jax.pmap` over this project's axis and the chosen devices (None: every device of every process)."""
    return jax.pmap(
        function,
        axis_name=AXIS,
        in_axes=in_axes,
        out_axes=out_axes,
        donate_argnums=donate_argnums,
        devices=devices,
    )


def in_every_process(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """As many devices of every process as `devices` are of this one, for a `pmap` in which all take part."""
    return [
        device
        for process in range(jax.process_count())
        for device in jax.local_devices(process)[: len(devices)]
    ]


def give_back_memory() -> None:
    """Returns to the system what compiling and the start have freed; without effect but with glibc.

    Virtual devices live in the memory of this process, and the C library keeps freed memory for itself: some 400 MB
    after the first iteration of full-size networks, which then lie beside everything that later ones need.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def count_compiles() -> Iterator[dict[str, float]]:
    """Yields {"seconds": s, "count": n}, filled with what XLA compiles inside the block."""
    seen = {"seconds": 0.0, "count": 0.0}

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen["seconds"] += duration_secs
            seen["count"] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
