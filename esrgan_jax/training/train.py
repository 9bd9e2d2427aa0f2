"""Training as one call: what `python train.py` does once its command line is read."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from esrgan_jax.errors import ConfigError
from esrgan_jax.system import devices, processes, surroundings
from esrgan_jax.system.files import check_utf8
from esrgan_jax.system.progress import loading
from esrgan_jax.training.config_files import load_config
from esrgan_jax.training.stopping import Stopped


def train(
    config: ConfigDict | str | os.PathLike[str], workdir: str | os.PathLike[str] | None = None, **fields: Any
) -> dict[str, float]:
    """Train, or go on with the run in `workdir`; return the last scores of the EMA network on the validation set.

    Args:
      config: a configuration, the path of a file like those in configs/, or the name of one of these ("x4"); a stage
        or preset may follow ("x4:gan"), as on the command line.
      workdir: the run folder; None: runs/<name of the configuration>.
      fields: values that differ from the configuration's, nested ones by their dotted names:
        `train("quickstart", seed=1, **{"psnr.steps": 100})`.

    Raises:
      UserError: configuration, data or workdir cannot be used, or training cannot go on; one sentence.
      Stopped: SIGTERM or SIGINT came, and everything is saved. Where nothing is to be saved, they end the process.
    """
    surroundings.settle()
    if workdir is not None and not str(workdir).strip():
        raise ConfigError("workdir is empty: name a folder for the run, or leave it out.")
    if getattr(jax.config, "jax_disable_jit", False):
        raise ConfigError("JAX_DISABLE_JIT is set: an iteration would take minutes. Unset it to train.")
    with loading():
        train_and_evaluate = _import_loop()
    config = copy.deepcopy(config) if isinstance(config, ConfigDict) else load_config(config)
    try:
        config.update_from_flattened_dict(fields)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"Unknown or unfitting field: {str(error.args[0]).splitlines()[0]}") from None
    folder = Path("runs") / config.name if workdir is None else Path(workdir)
    check_utf8(folder)
    count = config.distributed.num_processes or 1
    shares = [config[stage].batch_size // count for stage in config.stages if stage in config]
    devices.prepare(shares, config.num_devices)
    processes.initialize(config.distributed)
    try:
        scores = train_and_evaluate(config, folder)
    except Stopped:
        processes.shutdown()
        raise
    processes.shutdown()
    return scores


def _import_loop() -> Callable[[ConfigDict, Path], dict[str, float]]:
    """Return what trains, unless this system lacks something that it needs."""
    try:
        import resource  # noqa: F401 - asked for here: it is used after the last iteration

        from esrgan_jax.training.loop import train_and_evaluate
    except ModuleNotFoundError as error:
        way_out = (
            "train in WSL 2 (Linux on Windows); the other commands work here"
            if sys.platform == "win32"
            else "install the project again, with all that it needs"
        )
        raise ConfigError(f"Training needs the module {error.name}, which is missing: {way_out}.") from None
    return train_and_evaluate
