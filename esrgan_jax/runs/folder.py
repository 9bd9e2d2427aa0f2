"""Run folders: `config.json` and the checkpoints of each stage, `checkpoints/<stage>/<iteration>/`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from esrgan_jax.errors import CheckpointError, ConfigError
from esrgan_jax.runs import STAGES, checkpoint
from esrgan_jax.system.files import atomic_write, check_utf8

CONFIG_FILE = "config.json"
READ_TRIES = 10
"""How often to read a newest checkpoint that a training deletes meanwhile, because it has newer ones."""


def iterations(run_folder: Path, stage: str) -> list[int]:
    """Return the checkpoints of a stage, oldest first; unfinished and damaged ones have other names."""
    folder = stage_folder(run_folder, stage)
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit() and path.is_dir())


def stage_folder(run_folder: Path, stage: str) -> Path:
    """Return where the checkpoints of a stage lie."""
    return run_folder.resolve() / "checkpoints" / stage


def newest_stage(run_folder: Path, stages: Sequence[str] = STAGES) -> str | None:
    """Return the last of `stages` that has a checkpoint in a run folder, or None."""
    with_checkpoint = [stage for stage in stages if iterations(run_folder, stage)]
    return with_checkpoint[-1] if with_checkpoint else None


def read_config(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of a run folder, or of a checkpoint, as nested dicts; None where there is none.

    Raises:
      ConfigError: the file is there but cannot be read.
    """
    inside = folder / checkpoint.RECORD_FILE
    path = inside if inside.exists() else folder / CONFIG_FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found["config"] if path == inside else found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}): restore it, or choose another --workdir."
        ) from None


def write_config(run_folder: Path, config: dict[str, Any]) -> None:
    """Put the configuration into a run folder."""
    with atomic_write(run_folder / CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_generator(folder: Path) -> tuple[Any, Any]:
    """Return (params, ema) of a generator, as numpy trees.

    Args:
      folder: a run folder, for its newest checkpoint, or one checkpoint: RUN/checkpoints/psnr/best.

    Raises:
      ConfigError: there is no such folder, or no checkpoint in it.
      CheckpointError: it is damaged.
    """
    if (folder / checkpoint.RECORD_FILE).exists():
        return _load_checkpoint(folder)
    for tries_left in reversed(range(READ_TRIES)):
        stage = newest_stage(folder)
        if stage is None:
            raise ConfigError(f"{folder} holds no checkpoint: give the workdir of a run that has saved one.")
        newest = stage_folder(folder, stage) / str(iterations(folder, stage)[-1])
        try:
            return _load_checkpoint(newest)
        except Exception:  # what orbax says of files that go while it reads them has many names
            if newest.exists() or not tries_left:
                raise
    raise AssertionError


def _load_checkpoint(folder: Path) -> tuple[Any, Any]:
    """Return what `load_generator` does, of one checkpoint."""
    try:
        arrays = checkpoint.read_record(folder)["arrays"]
    except checkpoint.DamagedCheckpointError as error:
        raise CheckpointError(
            f"{error}: give another checkpoint (there are {_others(folder)}), or delete {folder}."
        ) from None
    wanted: dict[str, Any] = {"g": {"params": {}, "ema": {}}}
    for name, (dtype, shape) in arrays.items():
        first, *parents, last = name.split("/")
        if first == "g" and parents[:1] in (["params"], ["ema"]):
            place = wanted["g"]
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = jax.ShapeDtypeStruct(shape, dtype)
    generator = checkpoint.read_arrays(folder, wanted)["g"]
    return generator["params"], generator["ema"]


def write_generator(run_folder: Path, config: dict[str, Any], params: Any, ema: Any) -> None:
    """Make a run folder that holds a generator and nothing else to train on, for `load_generator`.

    Args:
      run_folder: a folder that does not exist yet; it appears whole or not at all.
      config: what `read_config` is to return.
      params: linen parameters, as numpy arrays.
      ema: their moving average.

    Raises:
      ConfigError: the folder exists, or cannot be written.
    """
    if run_folder.exists():
        raise ConfigError(f"{run_folder} exists: choose a new name.")
    check_utf8(run_folder)
    try:
        run_folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{run_folder.name}.", dir=run_folder.parent) as parent:
            unfinished = Path(parent) / run_folder.name
            unfinished.mkdir()
            write_config(unfinished, config)
            states = {"g": {"params": params, "ema": ema}}
            checkpoint.write(
                stage_folder(unfinished, STAGES[0]) / "0", states, checkpoint.StageProgress(), config
            )
            unfinished.rename(run_folder)
    except OSError as error:
        raise ConfigError(
            f"{run_folder} cannot be written ({error.strerror}): choose another place."
        ) from None


def _others(folder: Path) -> str:
    names = sorted((p.name for p in folder.parent.glob("*") if p.name.isdigit() and p != folder), key=int)
    return ", ".join(str(folder.parent / name) for name in names) or "none"
