"""What the soak scripts share: starting the training command at a random moment's mercy.

The scripts are not collected by pytest. Each is run by hand, `python tests/soak/NAME.py FOLDER`, takes minutes to
hours, ends with an error if something does not hold, and prints one line of JSON; docs/resume.md has the results.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.commands import ROOT, assert_same_states


def command(workdir: Path, flags: list[str], log: Path, **environment: str) -> subprocess.Popen:
    """Starts `train.py` on the quickstart; what it says is added to `log`."""
    words = ["train.py", f"--config={ROOT / 'configs/quickstart.py'}", f"--workdir={workdir}", *flags]
    compiled = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(log.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=os.environ | compiled | environment,
            stdout=file,
            stderr=file,
        )


def end(process: subprocess.Popen, log: Path) -> float:
    """Waits for a run that must succeed; returns the seconds it took."""
    start = time.perf_counter()
    if process.wait():
        raise SystemExit(f"a run failed with exit code {process.returncode}:\n{log.read_text()[-3000:]}")
    return time.perf_counter() - start


def wait_for(words: str, process: subprocess.Popen, log: Path, times: int = 1) -> None:
    """Waits until a run has said something so many times from now on, or has come to its end."""
    wanted = log.read_text().count(words) + times
    while log.read_text().count(words) < wanted and process.poll() is None:
        time.sleep(0.02)


def iterations(folder: Path) -> dict[str, str]:
    """The newest checkpoint of each stage."""
    return {
        stage.name: max((path.name for path in stage.glob("*") if path.name.isdigit()), key=int)
        for stage in (folder / "checkpoints").iterdir()
    }


def assert_same(folder: Path, expected: Path) -> None:
    """Two runs ended with the same bits, and told the same numbers."""
    assert iterations(folder) == iterations(expected), (iterations(folder), iterations(expected))
    for stage, iteration in iterations(expected).items():
        assert_same_states(folder, expected, stage, iteration)
    assert (folder / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()
