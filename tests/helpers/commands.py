"""`python train.py` in processes of their own, on small pictures; and what such runs leave, compared."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from PIL import Image

ROOT = Path(__file__).parents[2]
SMALL = (
    "--config.network_g.num_feat=4",
    "--config.network_g.num_block=1",
    "--config.network_g.num_grow_ch=2",
    "--config.network_d.num_feat=2",
    "--config.psnr.gt_size=32",
    "--config.psnr.batch_size=2",
    "--config.psnr.steps=60",
    "--config.gan.batch_size=2",
    "--config.gan.steps=30",
    "--config.log_every=5",
    "--config.evaluate_every=20",
    "--config.checkpoint_every=10",
)
PATIENCE = 300  # seconds until a process counts as hanging


def write_pictures(folder):
    """Three pictures to train on, and one held out."""
    for name, size in (
        ("train/a.png", 128),
        ("train/b.png", 140),
        ("train/c.png", 160),
        ("held_out/d.png", 64),
    ):
        write_picture(folder / name, size)


def write_picture(path, size):
    """A picture of waves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:size, : size + 8]
    waves = [127 + 120 * np.sin(x / 5 + y / 9), 127 + 120 * np.cos(x / 13 - y / 4), (x + y) % 256]
    Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(path)
    return path


class Command:
    """`python train.py` on the small pictures, started in a process of its own."""

    def __init__(self, images, workdir, *flags, **environment):
        clean = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
        # In the background of a shell Ctrl-C is ignored, and children inherit that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [sys.executable, *self.words(images, workdir, *flags)],
            cwd=ROOT,
            env=clean | self.environment(images) | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGINT, before)
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._guard = threading.Timer(PATIENCE, self.process.kill)
        self._guard.start()
        self._listener = threading.Thread(target=lambda: self.errors.extend(self.process.stderr))
        self._listener.start()

    @staticmethod
    def words(images, workdir, *flags):
        """The command line behind `python`."""
        data = (f"--config.data.train={images / 'train'}", f"--config.data.validation={images / 'held_out'}")
        words = ("train.py", f"--config={ROOT / 'configs/quickstart.py'}", f"--workdir={workdir}")
        return [*words, *SMALL, *data, *flags]

    @staticmethod
    def environment(images):
        """What it needs beside the environment of the tests."""
        return {"JAX_PLATFORMS": "cpu", "ESRGAN_JAX_HOME": str(images / "home")}

    def read_until(self, line):
        """Reads stdout until a line that begins with `line`."""
        for text in self.process.stdout:
            self.lines.append(text.rstrip("\n"))
            if text.startswith(line):
                return
        raise AssertionError(f"{line!r} never came: {self.lines} {self.errors}")

    def stop_after(self, line, with_signal):
        """Sends a signal as soon as stdout shows a line that begins with `line`; returns the exit code."""
        self.read_until(line)
        start = time.perf_counter()
        self.process.send_signal(with_signal)
        code = self.end()
        self.seconds_to_end = time.perf_counter() - start
        return code

    def saved_at(self):
        """The iteration at which the run says that a signal stopped it."""
        return next(int(text.split()[5]) for text in self.lines if "is saved; run the same" in text)

    def end(self):
        """Reads until the process ends; returns the exit code."""
        self.lines += [text.rstrip("\n") for text in self.process.stdout]
        code = self.process.wait()
        self._guard.cancel()
        self._listener.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def says(self, pattern):
        return any(re.search(pattern, line) for line in self.lines)


def read_state(folder):
    """Every array of a checkpoint."""
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(folder).item_metadata.tree
        wanted = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), tree)
        into_numpy = ocp.checkpoint_utils.construct_restore_args(wanted)
        return reader.restore(folder, args=ocp.args.PyTreeRestore(item=wanted, restore_args=into_numpy))


def read_lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_states(folder, expected, stage, iteration):
    """A checkpoint of two runs holds the same bits; returns what else it holds."""
    checkpoint, other = (root / "checkpoints" / stage / iteration for root in (folder, expected))
    states, other_states = read_state(checkpoint / "state"), read_state(other / "state")
    assert {"finished", "params", "ema", "opt_state"} <= set(states["g"])
    assert ("d" in states) == (stage == "gan")
    for (path, leaf), (other_path, other_leaf) in zip(
        *map(jax.tree_util.tree_leaves_with_path, (states, other_states)), strict=True
    ):
        name = jax.tree_util.keystr(path)
        assert name == jax.tree_util.keystr(other_path)
        np.testing.assert_array_equal(leaf, other_leaf, err_msg=name, strict=True)
    return [json.loads((path / "record.json").read_text()) for path in (checkpoint, other)]
