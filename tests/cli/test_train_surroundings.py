"""Training where others train in the same folder, terminals close, and nobody reads what it says."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import PATIENCE, ROOT, Command, read_lines, write_pictures

from esrgan_jax.runs.lock import LOCK_FILE
from esrgan_jax.weights.load import load_model

STAGE = ("--config.stages=psnr", "--config.evaluate_every=0", "--config.num_devices=1")
SHORT = (*STAGE, "--config.psnr.steps=5")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_pictures(folder)
    return folder


def read_log(folder):
    return [line[len("2026-01-01 00:00:00 ") :] for line in (folder / "train.log").read_text().splitlines()]


def test_second_training_in_a_folder(images, tmp_path):
    """It is refused by name, and leaves no trace; the folder can be read all the time. Then the terminal closes."""
    endless = (*STAGE, "--config.psnr.steps=100000", "--config.log_every=1")
    first = Command(images, tmp_path, *endless)
    first.read_until("psnr      12/")
    second = Command(images, tmp_path, *endless)
    assert second.end() == 2
    (sentence,) = second.errors
    assert re.match(
        rf"train.py: {tmp_path} is being trained by process {first.process.pid} on {re.escape(socket.gethostname())} "
        r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}: wait until it ends, or choose another --workdir\.$",
        sentence,
    )
    assert not second.lines
    module, _ = load_model(tmp_path)
    assert module.num_feat == 4

    first.process.send_signal(signal.SIGHUP)
    first.process.send_signal(signal.SIGHUP)
    assert first.end() == 128 + signal.SIGHUP
    assert first.errors == []
    saved = first.saved_at()
    assert (tmp_path / "checkpoints/psnr" / str(saved)).is_dir()
    assert not (tmp_path / LOCK_FILE).exists()
    assert [line["iteration"] for line in read_lines(tmp_path) if "lr" in line] == list(range(1, saved + 1))
    assert sum(line.startswith("run ") for line in read_log(tmp_path)) == 1


def test_reader_that_goes_away(images, tmp_path):
    """As `head` does: training goes on, and the log has what it says."""
    command = Command(images, tmp_path, *SHORT)
    command.read_until("preset")
    command.process.stdout.close()
    assert command.process.wait(PATIENCE) == 0
    command.process.stdout = io.StringIO()
    command.end()
    assert command.errors == []
    log = read_log(tmp_path)
    assert log.count("note      stdout cannot be written (Broken pipe): this log goes on without it") == 1
    assert log[-1].startswith("next ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("streams", [">/dev/full 2>&1", "<&- >&- 2>&-"])
def test_streams_that_are_full_or_closed(images, tmp_path, streams):
    """Files that training opens do not take the place of closed streams either: nothing is printed into them."""
    words = Command.words(images, tmp_path, *SHORT)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, *words],
        cwd=ROOT,
        env=os.environ | Command.environment(images),
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    log = read_log(tmp_path)
    assert log[-1].startswith("next ")
    assert log.count(
        "note      stdout cannot be written (No space left on device): this log goes on without it"
    ) == ("full" in streams)
    assert all(
        re.match(r"\d{4}-\d\d-\d\d ", line) for line in (tmp_path / "train.log").read_text().splitlines()
    )
    assert [line["iteration"] for line in read_lines(tmp_path)] == [0, 5, 5]
    assert json.loads((tmp_path / "config.json").read_text())["name"] == "quickstart"
