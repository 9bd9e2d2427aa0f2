"""Checkpoints: written whole or not at all, and read only if nothing is damaged.

In the folder of one lie `state/`, the arrays, and `record.json`: where the run stood, its configuration and versions,
and the size and SHA-256 of every file. Nothing else knows orbax.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

import esrgan_jax
from esrgan_jax.errors import CheckpointError, ConfigError
from esrgan_jax.system.files import atomic_write, check_utf8

RECORD_FILE = "record.json"
BEST = "best"  # a link to the best checkpoint of a stage
UNFINISHED = ".unfinished-"  # how names of checkpoints begin while they are written
DAMAGED = ".damaged"  # how they end once they were found to be
SPARE_BYTES = 2**20  # bytes that a checkpoint may take besides its arrays
FORMAT = 2  # of what `write` writes; 1 had no `model_state`
PACKAGES = ("esrgan-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")

# Process 0 reads and writes alone; orbax would make all of them meet.
_SINGLE_PROCESS = ocp.options.MultiprocessingOptions(
    primary_host=0, active_processes={0}, barrier_sync_key_prefix="process_0"
)


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True)
class Best:
    """The best evaluation so far: which score, how much, after which iteration of the stage."""

    metric: str
    score: float
    iteration: int


@dataclass(frozen=True)
class StageProgress:
    """Where a stage stands, beside its states.

    Attributes:
      iteration: iterations done.
      patches: training patches used by all processes together; the next one has this number.
      evaluated: False if an evaluation was due after this iteration and is still to be made.
      best: the best evaluation so far.
    """

    iteration: int = 0
    patches: int = 0
    evaluated: bool = True
    best: Best | None = None


def write(folder: Path, states: Any, progress: StageProgress, config: dict[str, Any]) -> None:
    """Write a checkpoint, which appears whole or not at all.

    Args:
      folder: the checkpoint's own; does not exist yet.
      states: a tree of numpy arrays.
      progress: where the stage stands.
      config: the run's configuration.

    Raises:
      Exception: whatever goes wrong while writing; nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Asked first, because orbax's threads complain on stderr long after one of them found the disk full.
    needed = sum(x.nbytes for x in jax.tree.leaves(states)) + SPARE_BYTES
    if shutil.disk_usage(folder.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    unfinished = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{folder.name}-", dir=folder.parent))
    try:
        whole = unfinished / folder.name
        whole.mkdir()
        with _open_orbax() as writer:
            writer.save(whole / "state", args=ocp.args.PyTreeSave(states))
        record = {
            "format": FORMAT,
            **asdict(progress),
            "config": config,
            "versions": {name: _version(name) for name in PACKAGES},
            "arrays": _dtypes_and_shapes(states),
            "files": {
                path.relative_to(whole).as_posix(): [path.stat().st_size, _sha256(path)]
                for path in sorted(whole.rglob("*"))
                if path.is_file()
            },
        }
        with atomic_write(whole / RECORD_FILE) as temporary:
            temporary.write_text(
                json.dumps({**record, "sha256": _sha256_of_record(record)}, indent=1), encoding="utf-8"
            )
        whole.rename(folder)
        _flush_folder(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _version(package: str) -> str | None:
    """The version of a package; None if it is not installed but on PYTHONPATH, as a checkout may be."""
    try:
        return esrgan_jax.__version__ if package == "esrgan-jax" else version(package)
    except (PackageNotFoundError, OSError):
        return None


def read(folder: Path, shapes: Any) -> tuple[Any, StageProgress]:
    """Return the states of a checkpoint as numpy arrays, shaped like `shapes`, and where the stage stood.

    Raises:
      DamagedError: a file of it is missing or changed; names it.
      ConfigError: it holds other networks or optimizers.
    """
    record = read_record(folder)
    first_format = record.get("format", 1) == 1
    stored = {name: _in_format_1(state) for name, state in shapes.items()} if first_format else shapes
    if record["arrays"] != _dtypes_and_shapes(stored):
        raise ConfigError(
            f"{folder} holds other networks or optimizers than this configuration makes: give back the old "
            "configuration, or choose another --workdir."
        )
    best = record["best"] and Best(**record["best"])
    progress = StageProgress(record["iteration"], record["patches"], record["evaluated"], best)
    arrays = read_arrays(folder, stored)
    if first_format:
        arrays = {name: _from_format_1(arrays[name], state) for name, state in shapes.items()}
    return arrays, progress


def _in_format_1(state: Any) -> dict[str, Any]:
    """A network's state as it was named before `model_state`: its collections lay beside the parameters."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    collections = fields.pop("model_state")
    return {name: tree for name, tree in (fields | collections).items() if tree is not None}


def _from_format_1(stored: dict[str, Any], state: Any) -> Any:
    model_state = {name: stored.pop(name) for name in state.model_state}
    return state.replace(**stored, model_state=model_state)


def read_record(folder: Path) -> dict[str, Any]:
    """Return what `record.json` of a checkpoint says, after comparing every file with it.

    Raises:
      DamagedError: a file is missing or changed; names it.
    """
    path = folder / RECORD_FILE
    try:
        record = json.loads(path.read_bytes())
        if record.pop("sha256") != _sha256_of_record(record):
            raise ValueError
    except FileNotFoundError:
        raise DamagedCheckpointError(f"{path} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedCheckpointError(f"{path} is damaged") from None
    for name, (size, digest) in record["files"].items():
        path = folder / name
        if not path.is_file():
            raise DamagedCheckpointError(f"{path} is missing")
        if path.stat().st_size != size:
            raise DamagedCheckpointError(f"{path} is damaged ({path.stat().st_size} bytes instead of {size})")
        if _sha256(path) != digest:
            raise DamagedCheckpointError(f"{path} is damaged (its checksum differs)")
    return record


def _open_orbax() -> ocp.Checkpointer:
    _hide_late_tensorstore_errors()
    # Orbax tells absl of every file it touches, and shows tracebacks of errors that it also raises.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_SINGLE_PROCESS)
    return ocp.Checkpointer(handler, multiprocessing_options=_SINGLE_PROCESS)


@functools.cache  # once per process
def _hide_late_tensorstore_errors() -> None:
    """Hide what tensorstore's threads say of arrays that come too late, for as long as this process lives.

    A save that fails, on a full disk, closes orbax's event loop while other arrays are still being written.
    """
    show_others = sys.unraisablehook

    def show(error: "sys.UnraisableHookArgs") -> None:
        if error.exc_type is not RuntimeError or str(error.exc_value) != "Event loop is closed":
            show_others(error)

    sys.unraisablehook = show


def read_arrays(folder: Path, shapes: Any) -> Any:
    """Return the arrays of a checkpoint that the tree `shapes` names, in numpy; `read_record` finds damage."""
    check_utf8(folder)
    target = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), shapes)
    # Into numpy, said explicitly: the devices it was saved from may not exist here.
    into_numpy = ocp.checkpoint_utils.construct_restore_args(target)
    arguments = ocp.args.PyTreeRestore(item=target, restore_args=into_numpy, partial_restore=True)
    with _open_orbax() as reader:
        return reader.restore(folder.resolve() / "state", args=arguments)


def _dtypes_and_shapes(states: Any) -> dict[str, list[Any]]:
    """{"g/params/conv_first/weight": [dtype, shape]} of every array."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): [np.dtype(x.dtype).name, list(x.shape)]
        for path, x in jax.tree_util.tree_leaves_with_path(states)
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_record(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
