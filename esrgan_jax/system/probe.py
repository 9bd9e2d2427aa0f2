"""A try in a process of its own whether JAX starts: it may hang, or end its process from C++."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass

PATIENCE = 120.0
"""Seconds until JAX counts as hanging: a TPU or a busy GPU takes a while."""

_START = """
import collections, jax
kinds = collections.Counter(f"{device.platform} ({device.device_kind})" for device in jax.devices())
jax.block_until_ready(jax.numpy.ones(2) + 1)
print("devices:", ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
"""


@dataclass(frozen=True)
class Start:
    """How a start of JAX went: the devices it found, or why it did not start."""

    works: bool
    text: str


def start_elsewhere(without: Collection[str] = (), patience: float = PATIENCE) -> Start:
    """Start JAX in another process, and add two numbers.

    Args:
      without: environment variables that the other process does not get.
      patience: in seconds.
    """
    environment = {name: value for name, value in os.environ.items() if name not in without}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        return Start(False, f"nothing within {patience:.0f} s")
    except OSError as error:
        return Start(False, f"no process for it ({error.strerror})")
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0 and last.startswith("devices: "):
        return Start(True, last.removeprefix("devices: "))
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith((" ", "\t", "Traceback", "---", "For simplicity"))]
    how = f"exit code {done.returncode}" if done.returncode >= 0 else f"signal {-done.returncode}"
    return Start(False, f"{how}: {told[-1] if told else 'no message'}")
