"""Memory of devices and host: free, used, returned to the system."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax

UNKNOWN = 4 << 30  # bytes, if neither the device nor the system says how much there is


def free_bytes(devices: Sequence[jax.Device]) -> int:
    """Return the bytes that each of the devices has left for tiles."""
    free = []
    for device in devices:
        stats = device.memory_stats() or {}
        if "bytes_limit" in stats:
            free.append(int(0.9 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))))
    if free:
        return min(free)
    if devices[0].platform != "cpu":
        return UNKNOWN
    # Virtual devices share the host's memory; half of it is for pictures and other programs.
    return host_bytes() // 2 // len(devices)


def host_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes this process may still take: the system's, or less under the limit of a container."""
    free = [_available(proc / "meminfo")]
    try:
        groups = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            free.append(_left(cgroups, path, "memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            free.append(_left(cgroups / "memory", path, *names))
    return min((value for value in free if value is not None), default=UNKNOWN)


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _left(root: Path, path: str, limit: str, usage: str, cache: str) -> int | None:
    """Return the least that a control group and its parents leave; a container may see only the root."""
    left = []
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        try:
            allowed = (folder / limit).read_text().strip()
            if allowed.isdigit():  # else "max"
                used = int((folder / usage).read_text())
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                left.append(int(allowed) - used + int(statistics.get(cache, 0)))
        except OSError:
            pass
        if folder == root:
            break
    return min(left, default=None)


def peak_memory() -> str:
    """Return the peak memory of this process in words, on the host and, where it is known, on a device."""
    import resource  # does not exist on Windows, where upscale does without

    import jax

    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    stats = jax.local_devices()[0].memory_stats() or {}
    device = f", {stats['peak_bytes_in_use'] / 1e9:.2f} GB per device" if "peak_bytes_in_use" in stats else ""
    return f"{host:.2f} GB{device}"


def trim_heap() -> None:
    """Return freed memory to the system; works with glibc only.

    The C library keeps what compiling and the start have freed, some 400 MB after the first iteration of full-size
    networks, in addition to what virtual devices need later in the same process.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
