"""What a benchmark ran on, and what its process took of it; the standard library alone."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("esrgan-jax", "jax", "jaxlib", "flax", "optax", "numpy", "torch")


def describe() -> dict[str, Any]:
    """Processor, usable cores, load at present, memory, and versions of the packages that matter."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(
            os.getloadavg()[0], 2
        ),  # of other programs too: figures of a busy machine are no figures
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def resident_mb() -> float:
    """Memory of this process now."""
    return _status("VmRSS")


def peak_mb() -> float:
    """The most memory this process had since its start, or since `restart_peak`."""
    return _status("VmHWM")


def restart_peak() -> None:
    """Forgets the peak so far (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> float:
    if not sys.platform.startswith("linux"):
        return float("nan")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
