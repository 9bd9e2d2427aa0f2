"""One run in two real processes: stopped, killed, and gone on with in one."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import time

import pytest
from helpers.commands import Command, read_lines, write_pictures

from esrgan_jax.errors import ConfigError
from esrgan_jax.runs.lock import RunLock
from esrgan_jax.system import processes

STAGE = ("--config.stages=psnr", "--config.psnr.batch_size=4")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_pictures(folder)
    return folder


@pytest.fixture
def start_two(images, tmp_path):
    """Starts both processes, of two devices each."""
    with contextlib.ExitStack() as started:

        def start(*flags, **environment):
            with socket.socket() as free:
                free.bind(("localhost", 0))
                address = f"localhost:{free.getsockname()[1]}"
            commands = []
            for process in range(2):
                settings = {"coordinator_address": address, "num_processes": 2, "process_id": process}
                joined = [f"--config.distributed.{name}={value}" for name, value in settings.items()]
                # The second one has no use for a workdir, and must not need it.
                workdir = tmp_path / ("run" if process == 0 else "nothing")
                flags = (*STAGE, "--config.num_devices=2")
                commands.append(Command(images, workdir, *flags, *joined, **environment))
                started.callback(commands[-1].process.kill)
            return commands

        yield start


def test_two_processes(start_two, images, tmp_path):
    """The numbers of one process with as many devices; they end together; one process can go on alone."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    first, second = start_two(**cache)
    first.read_until("psnr      20/60")
    second.process.send_signal(signal.SIGTERM)
    assert (first.end(), second.end()) == (128 + signal.SIGTERM,) * 2  # the first one was asked by the second
    assert first.says(r"^run       quickstart in .*, 2 CPU devices in each of 2 processes$")
    stopped = first.saved_at()
    assert first.errors == []
    assert second.errors == []
    # XLA speaks for itself, from several threads, which may fall into each other's line.
    assert not [line for line in second.lines if not re.search(r"\[Gloo\]|peer ranks", line)]

    first, second = start_two(**cache)
    first.read_until("psnr      40/60")
    start = time.perf_counter()
    second.process.kill()  # the other one is where JAX watches all of them, and waits for signs of life
    assert first.end() != 0
    assert time.perf_counter() - start < 60
    assert second.end() == -signal.SIGKILL
    assert first.says(f"^restore   psnr stage at iteration {stopped}: ")
    for command in (first, second):
        assert "start all of them again, and they go on from the newest checkpoint" in command.errors[-1]

    whole = Command(images, tmp_path / "whole", *STAGE, "--config.num_devices=4", **cache)
    assert whole.end() == 0
    alone = Command(images, tmp_path / "run", *STAGE, "--config.num_devices=4", **cache)
    assert alone.end() == 0
    assert alone.says(r"^restore   psnr stage at iteration (20|30): ") or alone.says(
        f"^restore   psnr stage at iteration {stopped}: "
    )
    assert not (tmp_path / "nothing").exists()
    lines, expected = read_lines(tmp_path / "run"), read_lines(tmp_path / "whole")
    for line, other in zip(lines, expected, strict=True):
        assert line.pop("stage") == other.pop("stage")
        # Sums of float32 in another order; that grows from iteration to iteration, in gradients most.
        for name, value in line.items():
            assert value == pytest.approx(other[name], rel=5e-2 if "grad" in name else 2e-3), (name, line)
    records = [
        json.loads((tmp_path / name / "checkpoints/psnr/60/record.json").read_text())
        for name in ("run", "whole")
    ]
    assert records[0]["patches"] == records[1]["patches"] == 240


def test_first_one_that_cannot_begin(start_two, tmp_path):
    """Here another training has the workdir: both end, and the second one says where the reason stands."""
    (tmp_path / "run").mkdir()
    with RunLock(tmp_path / "run"):
        first, second = start_two()
        assert (first.end(), second.end()) == (2, 2)
    assert re.match("train.py: .*/run is being trained by process ", first.errors[-1])
    assert second.errors[-1].startswith("train.py: Process 0 of this run ends, and says why: ")


@pytest.mark.parametrize(
    "address, count, own, words",
    [
        ("localhost:1", None, None, "go together: give all three"),
        (None, 2, 0, r"coordinator_address \(=None\)"),
        ("localhost", 2, 0, "must be HOST:PORT"),
        ("localhost:1", 2, 2, "0 to distributed.num_processes - 1"),
    ],
)
def test_settings_that_do_not_fit(address, count, own, words):
    settings = {"coordinator_address": address, "num_processes": count, "process_id": own}
    with pytest.raises(ConfigError, match=words):
        processes.initialize(settings)


def test_one_process_is_not_joined_to_any():
    processes.initialize(dict.fromkeys(("coordinator_address", "num_processes", "process_id")))
    assert processes.is_first()
    processes.shutdown()
