"""Configuration files: your own by their paths, those of configs/ by their names too."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from esrgan_jax.errors import ConfigError

_PACKAGE = Path(__file__).parents[1]
FOLDER = next(folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir())
"""configs/, which a wheel puts into the package."""


def find_config(path_or_name: str | os.PathLike[str]) -> Path:
    """Return the path of a configuration file; the name of one in configs/ will do.

    Raises:
      ConfigError: there is no such file.
    """
    places = (Path(path_or_name), FOLDER / f"{path_or_name}.py")
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.py")))
        raise ConfigError(
            f"There is no configuration {path_or_name}: give the path of a file, or one of {known}."
        )
    return path


def load_config(path_or_name: str | os.PathLike[str]) -> ConfigDict:
    """Return the configuration of a file, or of one in configs/ by its name; `:stage,preset` may follow.

    Raises:
      ConfigError: there is no such file, or it makes no configuration.
    """
    name, _, argument = str(path_or_name).partition(":")
    path = find_config(name)
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # of a .py file
    module = importlib.util.module_from_spec(spec)
    try:
        with others_importable(path):
            spec.loader.exec_module(module)
            return module.get_config(argument) if argument else module.get_config()
    except ConfigError:
        raise
    except Exception as error:  # a configuration is a program: anything may go wrong in it
        raise ConfigError(
            f"The configuration {path} cannot be loaded ({type(error).__name__}: {error})."
        ) from error


@contextlib.contextmanager
def others_importable(path: Path) -> Iterator[None]:
    """While a configuration file is loaded it may import others, from its own configs/ and ours: `configs.base`."""
    folders = [str(path.resolve().parents[1]), str(FOLDER.parent)]
    before = sys.path[:]
    sys.path[:0] = folders
    try:
        yield
    finally:
        sys.path[:] = before
