"""Whether a result's name can be written: names that Windows keeps for itself, or that are too long here."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.imaging.search import is_folder
from esrgan_jax.system.files import is_about_the_name

_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789¹²³"
}
_FORBIDDEN = '<>:"|?*'


def windows_problem(name: str) -> str | None:
    """Return why Windows cannot have a file or folder of this name; None if it can.

    Source: Microsoft, "Naming Files, Paths, and Namespaces".
    """
    device = name.split(".")[0].rstrip(" ").upper()
    if device in _DEVICES:
        return f"Windows keeps the name {device} for a device"
    if name[-1:] in (".", " "):
        return "Windows takes away the dot or space at the end of a name"
    found = [letter for letter in name if letter in _FORBIDDEN or letter < " "]
    return f"Windows has no names with {found[0]!r}" if found else None


def check_name(path: Path) -> None:
    """Check that there can be a file of this name; whether its folder can be written is another question.

    Raises:
      DataError: there cannot; says why.
    """
    reason = None
    if os.name == "nt":
        inside = path.relative_to(path.anchor).parts
        reason = next(filter(None, (windows_problem(part) for part in inside if part != "..")), None)
    if reason is None and is_folder(path):
        reason = "it is a folder"
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        reason = reason or error.strerror
    if reason is not None:
        raise unwritable(path, reason)


def unwritable(path: Path, reason: str | None) -> DataError:
    """Return the error for one name that cannot be written."""
    return DataError(
        f"{path} cannot be written ({reason}): rename the picture, or choose another --suffix or -o."
    )


def check_folders(paths: Iterable[Path], output: Path) -> None:
    """Check that the folders of results can be written, before hours of work go into it; create them.

    A folder below `output` that cannot have its name is the failure of its pictures, which comes later.

    Raises:
      ConfigError: one cannot be written; says why.
    """
    for folder, path in {path.parent: path for path in paths}.items():
        try:
            if folder.is_file():
                raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file")
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            if folder in (output, *output.parents) or not is_about_the_name(error):
                raise ConfigError(
                    f"{path} cannot be written ({error.strerror}). Choose another place."
                ) from error
