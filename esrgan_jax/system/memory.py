"""How much memory there is, how much was used, and giving it back."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

UNKNOWN = 4 << 30  # bytes: where neither the device nor the system says how much there is


def free_bytes(devices: Sequence[jax.Device]) -> int:
    """How much memory each of the devices has left for tiles."""
    free = []
    for device in devices:
        stats = device.memory_stats() or {}
        if "bytes_limit" in stats:
            free.append(int(0.9 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))))
    if free:
        return min(free)
    if devices[0].platform != "cpu":
        return UNKNOWN
    # Virtual devices share the host's memory, and half of it is left to pictures and to other programs.
    return host_bytes() // 2 // len(devices)


def host_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """How much memory this process may still take, in bytes: the system's, or less where a container sets a limit."""
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
    """The least that a control group and those above it leave; inside a container only the root may be seen."""
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
    """The most memory this process has used so far, on the host and, where it is known, on a device."""
    import resource  # not on Windows, where upscale runs without it

    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    stats = jax.local_devices()[0].memory_stats() or {}
    device = f", {stats['peak_bytes_in_use'] / 1e9:.2f} GB per device" if "peak_bytes_in_use" in stats else ""
    return f"{host:.2f} GB{device}"


def trim_heap() -> None:
    """Returns to the system what compiling and the start have freed; without effect but with glibc.

    Virtual devices live in the memory of this process, and the C library keeps freed memory for itself: some 400 MB
    after the first iteration of full-size networks, which then lie beside everything that later ones need.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
