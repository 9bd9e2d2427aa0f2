"""Training as one call: what `python train.py` does once its command line is read."""

from __future__ import annotations

import copy
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from esrgan_jax.errors import ConfigError
from esrgan_jax.system import devices, processes
from esrgan_jax.training.loop import train_and_evaluate
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
    config = copy.deepcopy(config) if isinstance(config, ConfigDict) else load_config(config)
    try:
        config.update_from_flattened_dict(fields)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"Unknown or unfitting field: {str(error.args[0]).splitlines()[0]}") from None
    count = config.distributed.num_processes or 1
    shares = [config[stage].batch_size // count for stage in config.stages if stage in config]
    devices.prepare(shares, config.num_devices)
    processes.initialize(config.distributed)
    try:
        scores = train_and_evaluate(config, Path(workdir or Path("runs") / config.name))
    except Stopped:
        processes.shutdown()
        raise
    processes.shutdown()
    return scores


def load_config(path_or_name: str | os.PathLike[str]) -> ConfigDict:
    """Return the configuration of a file, or of one in configs/ by its name; `:stage,preset` may follow.

    Raises:
      ConfigError: there is no such file, or it makes no configuration.
    """
    name, _, argument = str(path_or_name).partition(":")
    root = Path(__file__).parents[2]
    places = [Path(name), root / "configs" / f"{name}.py", root / "esrgan_jax" / "configs" / f"{name}.py"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        known = sorted(file.stem for place in places[1:] for file in place.parent.glob("*.py"))
        raise ConfigError(
            f"There is no configuration {name}: give the path of a file, or one of {', '.join(known)}."
        )
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # of a .py file
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parents[1]))  # where it finds the other ones, as `configs.base`
    try:
        spec.loader.exec_module(module)
        return module.get_config(argument) if argument else module.get_config()
    except ConfigError:
        raise
    except Exception as error:  # a configuration is a program: anything may go wrong in it
        raise ConfigError(
            f"The configuration {path} cannot be loaded ({type(error).__name__}: {error})."
        ) from error
    finally:
        sys.path.pop(0)
