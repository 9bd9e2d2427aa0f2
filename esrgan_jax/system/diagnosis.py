"""What a bug report needs to know of a machine: versions, limits, space, environment, and nothing personal."""

from __future__ import annotations

import contextlib
import importlib.metadata
import locale
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from esrgan_jax.system.download import file_size
from esrgan_jax.system.files import cache_dir, cache_problem, user_path
from esrgan_jax.system.memory import host_bytes
from esrgan_jax.system.probe import Start

OPTIONAL = ("jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu", "pillow-heif", "torch")
"""Packages that are told of where they are: JAX's for accelerators, those of extras, and one that shares the GPU."""

RELEVANT = re.compile(
    r"(JAX|XLA|ESRGAN_JAX|CUDA|NVIDIA|TPU|TF|TFDS|OMP|LC)_.*|NPROC|LANG|PYTHONIOENCODING|PYTHONUTF8|LD_PRELOAD"
    r"|(LD_LIBRARY_|PYTHON|)PATH|TMPDIR|HOME|XDG_CACHE_HOME|SLURM_JOB_ID|KUBERNETES_PORT|WSL_DISTRO_NAME"
)
PRIVATE = re.compile(r"PATH|DIR|HOME|FILE|NAME|ADDRESS|HOST|PORT|ID|TOKEN|KEY|PRELOAD")
"""In names of variables: their values may name a folder, a person or a machine."""


def versions() -> dict[str, str]:
    """Return the versions of Python, the system and every package that this project needs."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        needed = importlib.metadata.requires("esrgan-jax") or []
        names = [re.match(r"[\w.-]+", need)[0] for need in needed if "extra ==" not in need]  # type: ignore[index]
        names = sorted({*names, "jaxlib"}, key=str.lower)
        packages = {name: _version(name) or "missing" for name in ("esrgan-jax", *names)}
        packages |= {name: found for name in OPTIONAL if (found := _version(name))}
        return {"Python": _python(), "system": _system(), **packages}
    return {"Python": _python(), "system": _system(), "esrgan-jax": "not installed"}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> str:
    return f"{platform.python_version()} ({platform.python_implementation()}, {sys.maxsize.bit_length() + 1} bit)"


def _system() -> str:
    words = [platform.system(), platform.release(), platform.machine(), " ".join(platform.libc_ver())]
    return " ".join(word for word in words if word)


def devices(start: Start) -> dict[str, str]:
    """Return how a start of JAX went, and whose driver is there."""
    driver = Path("/proc/driver/nvidia/version")
    known = {"JAX": start.text if start.works else f"does not start: {impersonal(start.text)}"}
    with contextlib.suppress(OSError):
        version = re.search(r"\d+\.\d+[.\d]*", driver.read_text())
        known["NVIDIA driver"] = version[0] if version else "there"
    return known


def space() -> dict[str, str]:
    """Return free memory, free disk, and the state of the cache."""
    cache = _cache()  # makes the folder
    places = {
        "working directory": Path(),
        "temporary files": Path(tempfile.gettempdir()),
        "cache": cache_dir(),
    }
    disks = []
    for name, place in places.items():
        with contextlib.suppress(OSError):
            disks.append(f"{name} {_size(shutil.disk_usage(place).free)}")
    memory = f"{_size(host_bytes())} free for this process"
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows
        memory += f" of {_size(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))}"
    return {"memory": memory, "disk, free": ", ".join(disks), "cache": cache}


def _cache() -> str:
    place = (
        "~" / cache_dir().relative_to(user_path("~")) if cache_dir().is_relative_to(user_path("~")) else None
    )
    where = str(place or "outside of the home folder")
    problem = cache_problem()
    if problem:
        return f"{where}, cannot be written ({problem.rpartition('(')[2].removesuffix(')')})"
    sizes = [size for file in cache_dir().rglob("*") if (size := file_size(file))]
    return f"{where}, can be written, {len(sizes)} files, {_size(sum(sizes))}"


def limits() -> dict[str, str]:
    """Return what this process may take: cores, files, address space, and a container's share."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = {"cores": f"{usable} of {os.cpu_count()}"}
    with contextlib.suppress(ModuleNotFoundError):  # Windows
        import resource

        for name, number in {
            "open files": resource.RLIMIT_NOFILE,
            "address space": resource.RLIMIT_AS,
            "file size": resource.RLIMIT_FSIZE,
        }.items():
            soft = resource.getrlimit(number)[0]
            text = f"{soft}" if name == "open files" else _size(soft)
            known[name] = "no limit" if soft == resource.RLIM_INFINITY else text
    return known | {"container": ", ".join(_container()) or "no limit"}


def _container(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Iterator[str]:
    """Yield the limits of the control group of this process, or the nearest one above that has some (version 2)."""
    try:
        groups = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    path = next((line[3:] for line in groups if line.startswith("0::")), "/")
    group = cgroups / path.lstrip("/")
    for file, text in {"memory.max": _memory_limit, "cpu.max": _cpu_limit}.items():
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):
                if found := text((folder / file).read_text()):
                    yield found
                    break
            if folder == cgroups:
                break


def _memory_limit(text: str) -> str | None:
    return None if text.strip() == "max" else f"memory {_size(int(text))}"


def _cpu_limit(text: str) -> str | None:
    quota, period = text.split()
    return None if quota == "max" else f"{int(quota) / int(period):.1f} cores"


def environment() -> dict[str, str]:
    """Return encodings, and the environment variables that matter: values only where they can name nobody."""
    encodings = {
        "stdout": getattr(sys.stdout, "encoding", None),
        "files' names": sys.getfilesystemencoding(),
        "text": locale.getpreferredencoding(False),
    }
    known = {"encodings": ", ".join(f"{name} {value}" for name, value in encodings.items())}
    for name, value in sorted(os.environ.items()):
        if RELEVANT.fullmatch(name):
            harmless = not PRIVATE.search(name) and re.fullmatch(r"[\w.,:=+ -]{0,200}", value, re.ASCII)
            known[name] = (value or "empty") if harmless else "set"
    return known


def impersonal(text: str) -> str:
    """Return a message without folders, and without the names of user and machine."""
    text = re.sub(r"(?:[A-Za-z]:)?(?:[/\\][^\s:'\"/\\]+)*[/\\](?=[^\s:'\"/\\])", ".../", text)
    for name in (
        platform.node(),
        os.environ.get("USER"),
        os.environ.get("USERNAME"),
        os.environ.get("LOGNAME"),
    ):
        if name:
            text = re.sub(rf"\b{re.escape(name)}\b", "...", text)
    return text


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
