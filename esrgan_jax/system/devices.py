"""Devices and cores of this process; XLA's settings and compilation cache."""

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from esrgan_jax.errors import ConfigError
from esrgan_jax.system.files import cache_dir, cache_problem, go_on_without_cache
from esrgan_jax.system.probe import start_elsewhere
from esrgan_jax.system.surroundings import note, switches


def prepare(batch_sizes: Sequence[int] = (), count: int | None = None) -> None:
    """Set JAX up before its first use: virtual devices on CPUs, and the compilation cache.

    Args:
      batch_sizes: of this process; one device per core, as far as their number divides all of these.
      count: number of virtual devices instead.
    """
    start_cpu_devices(count or device_count_for(batch_sizes))
    use_compilation_cache()


def start_cpu_devices(count: int) -> None:
    """Split the CPU into `count` virtual devices; no effect on GPUs and TPUs, or once JAX has started.

    One device per core is faster than one device: between convolutions it would leave cores idle. A number set by the
    user (in `XLA_FLAGS` or `JAX_NUM_CPU_DEVICES`) stays.
    """
    if count > 1:
        # XLA:CPU runs all devices on one pool with a thread per core. All devices but one may wait in an all-reduce,
        # each occupying a thread; without one more thread per core, long runs hung sooner or later (jaxlib 0.10.2).
        # More threads are slower: a training iteration took 5 to 12% longer with twice as many. JAX reads the size of
        # the pool from NPROC when it starts.
        os.environ.setdefault("NPROC", str(available_cores() + count - 1))
        # The devices fill the cores; scheduling for parallel execution within a device costs a sixth more memory.
        _set_xla_flag("xla_cpu_enable_concurrency_optimized_scheduler", "false")
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or getattr(jax.config, "jax_num_cpu_devices", -1) > 0:
        return
    with contextlib.suppress(RuntimeError):  # JAX has started
        jax.config.update("jax_num_cpu_devices", count)


def _set_xla_flag(name: str, value: str) -> None:
    """Set a flag of XLA that the user did not set, with versions known to have it: others would abort."""
    flags = os.environ.get("XLA_FLAGS", "")
    if name not in flags and jax.__version_info__ < (0, 13):
        os.environ["XLA_FLAGS"] = f"{flags} --{name}={value}".strip()


def use_compilation_cache() -> None:
    """Keep what XLA compiles from now on in `cache_dir()/xla`, or in the folder the user chose, for later runs.

    If that cannot be written, nothing is kept, and a note says so.
    """
    chosen = getattr(jax.config, "jax_compilation_cache_dir", None)
    if chosen is None:
        if problem := cache_problem():
            go_on_without_cache(problem)
            return
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
    elif "://" not in chosen and (problem := cache_problem(Path(chosen))):
        jax.config.update("jax_compilation_cache_dir", None)
        note(
            f"{problem}: compiled networks are not kept, but made again. Unset JAX_COMPILATION_CACHE_DIR, or let it "
            "name a writable folder."
        )
        return
    # The default leaves out what compiles in less than a second, as small networks do.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def available_cores() -> int:
    """Return the number of cores this process may use; in containers or under schedulers fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_count_for(batch_sizes: Sequence[int]) -> int:
    """Return the largest number of this process's cores that divides every batch size."""
    common = math.gcd(*batch_sizes)  # 0 without batch sizes, which every number divides
    return max(count for count in range(1, available_cores() + 1) if common % count == 0)


def local_devices() -> list[jax.Device]:
    """Return the devices of this process; the first call starts JAX.

    Raises:
      ConfigError: JAX does not start, as where `JAX_PLATFORMS` asks for what this machine does not have.
    """
    try:
        return jax.local_devices()
    except Exception as error:  # a RuntimeError; an AssertionError without words where cuda has no plugin
        asked = getattr(jax.config, "jax_platforms", None)
        if switches() and not asked:
            raise  # with their names
        reason = (str(error).splitlines() or [""])[0].partition(" (set JAX_PLATFORMS")[0].rstrip(".")
        if not asked:
            raise ConfigError(f"JAX does not start ({reason}): esrgan-jax doctor shows more.") from error
        without = start_elsewhere(without=("JAX_PLATFORMS",))
        found = f"finds {without.text}" if without.works else f"does not start either ({without.text})"
        raise ConfigError(
            f"The environment variable JAX_PLATFORMS asks for {asked}, which JAX cannot use here"
            f"{f' ({reason})' if reason else ''}. Without JAX_PLATFORMS it {found}: unset it, or install what "
            "is missing."
        ) from error


def choose_devices(count: int | None = None) -> list[jax.Device]:
    """Return the first `count` local devices (None: all of them).

    Raises:
      ConfigError: there are fewer.
    """
    devices = local_devices()
    if count is None:
        return devices
    if not 1 <= count <= len(devices):
        raise ConfigError(
            f"num_devices (={count}) must be 1 to {len(devices)}, the devices this process has."
        )
    return devices[:count]


@contextlib.contextmanager
def count_compiles() -> Iterator[dict[str, float]]:
    """Yield {"seconds": s, "count": n}, updated with what XLA compiles inside the block."""
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
