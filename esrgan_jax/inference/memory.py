"""How much memory there is for tiles, and how much a tile takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax

from esrgan_jax.inference.tile_network import BAND, RIM
from esrgan_jax.models import RRDBNet

UNKNOWN = 4 << 30  # bytes: where neither the device nor the system says how much there is


def tile_bytes(module: RRDBNet, tile: int, value_bytes: int) -> int:
    """About how much one device needs for one tile (not counting the parameters).

    Args:
      tile: its side in pixels of the trunk.
      value_bytes: of what is computed in: 4 for float32, 2 for bfloat16.
    """
    zoom = module.scale * module.unshuffle
    dense = module.num_feat + 4 * module.num_grow_ch
    # Features in float32 (three live at once) and a dense block's inputs, twice while one is extended.
    trunk = tile * tile * (3 * 4 * module.num_feat + 2 * value_bytes * dense)
    rows = min(tile, BAND + 2 * RIM)
    band = rows * tile * zoom * zoom * 3 * value_bytes * module.num_feat
    # The result twice: joined from bands, and one tile waiting to be fetched.
    result = 2 * 4 * (tile * zoom) ** 2 * module.num_out_ch
    return trunk + band + result


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
