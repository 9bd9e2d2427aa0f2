"""A run folder becomes the own one of a process, a configuration and a set of pictures, or turns out to be it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from esrgan_jax.data.pairs import PairSource
from esrgan_jax.errors import ConfigError
from esrgan_jax.runs.folder import iterations, newest_stage, read_config, write_config
from esrgan_jax.runs.lock import RunLock
from esrgan_jax.training import configuration
from esrgan_jax.training.pictures import changed_pictures, describe_pictures, read_pictures, write_pictures


def claim_run_folder(
    config: Mapping[str, Any], folder: Path, opened: contextlib.ExitStack
) -> tuple[RunLock, list[str]]:
    """Return the lock of the workdir, and fields that changed, as notes.

    Only checkpoints bind a folder: a first attempt that stopped on a mistake, with the configuration that had
    it, leaves none.

    Args:
      config: nested fields as in configs/base.py.
      folder: the workdir.
      opened: holds the lock.

    Raises:
      ConfigError: another process trains there, it holds checkpoints of another configuration, or cannot be written.
    """
    with _errors_of_writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = opened.enter_context(RunLock(folder))
        newest = newest_stage(folder)
        before = read_config(folder) if newest else None
        changed, notes = configuration.changed_fields(before or {}, config)
        if changed and config["resume"] != "force":
            raise ConfigError(
                f"{folder} holds a run of another configuration, {'; '.join(changed)}: give back the old values, "
                "choose another --workdir, or go on with other numbers by --config.resume=force."
            )
        write_config(folder, {**config, "resume": None})  # which belongs to this start alone
    notes = [_changed_note(field) for field in changed + notes]
    saved = iterations(folder, "psnr")
    if newest == "gan" and "psnr" in config["stages"] and saved and saved[-1] < config["psnr"]["steps"]:
        notes.append(
            f"psnr.steps (={config['psnr']['steps']}) is ignored: the GAN stage began after {saved[-1]} "
            "iterations"
        )
    return lock, notes


def claim_pictures(
    config: Mapping[str, Any], folder: Path, train: PairSource, validation: PairSource
) -> list[str]:
    """Compare the pictures with those of the checkpoints, and remember them; return what changed, as notes.

    Raises:
      ConfigError: pictures to train on are gone or have changed, or the folder cannot be written.
    """
    sources = {"train": train, "validation": validation}
    found = {
        f"data.{name}": describe_pictures(config["data"][name], config["data"][f"{name}_lr"], source)
        for name, source in sources.items()
    }
    before = read_pictures(folder) if newest_stage(folder) else {}
    changed, notes = changed_pictures(before, found)
    if changed and config["resume"] != "force":
        raise ConfigError(
            f"{folder} holds a run on other pictures, {'; '.join(changed)}: put the old ones back, choose another "
            "--workdir, or go on with other numbers by --config.resume=force."
        )
    with _errors_of_writing(folder):
        write_pictures(folder, found)
    return [_changed_note(source) for source in changed + notes]


@contextlib.contextmanager
def _errors_of_writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): mend that, or choose another --workdir."
        ) from None


def _changed_note(what: str) -> str:
    return f"changed since the last start: {what}"
