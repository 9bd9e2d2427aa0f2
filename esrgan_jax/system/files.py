"""Writing files atomically, and the folder of the project's cache."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from esrgan_jax.errors import ConfigError
from esrgan_jax.system.regular_files import special_kind
from esrgan_jax.system.surroundings import note

_LONGEST_SUFFIX = 16
_NAME_ERRORS = {
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.ELOOP,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
}


def is_about_the_name(error: OSError) -> bool:
    """Return whether a file could not be written because of its name or path, and others beside it can be."""
    return error.errno in _NAME_ERRORS


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is renamed to `path` at the end, or deleted after an error.

    It has the suffix of `path`, for writers that choose the format by it. The data is flushed to disk before the
    rename: after a power cut there is the old file or the new one, never a part.

    Raises:
      OSError: the folder cannot be created or written, or a pipe or device is in the file's place; nothing is left
        behind.
    """
    path = Path(path)
    _refuse_special(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its name has a length of its own, so that any name that `path` may have can be written.
    suffix = path.suffix if len(path.suffix) < _LONGEST_SUFFIX else ""
    handle, name = tempfile.mkstemp(prefix=".new-", suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; results get the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        with temporary.open("r+b") as file:  # Windows flushes nothing that is open for reading alone
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_special(path: Path) -> None:
    """Refuse a path where a pipe or device is, as /dev/null: a file would take its place, for everybody."""
    with contextlib.suppress(FileNotFoundError):
        if kind := special_kind(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, f"it is {kind}")


def append(path: Path, data: bytes) -> None:
    """Append all of `data` to a file, or nothing; create the file if there is none.

    Raises:
      OSError: the disk is full or gone.
    """
    # Without a buffer, which Python would try to write again when the file is closed.
    with path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(end)
            raise


def user_path(path: str | os.PathLike) -> Path:
    """Return the path with the user's home for "~", which stays where there is no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def cache_dir() -> Path:
    """Return the folder for what can be made or fetched again: `$ESRGAN_JAX_HOME`, else the user's cache.

    A user without a home has a place that cannot be written to: then nothing is kept.
    """
    home = os.environ.get("ESRGAN_JAX_HOME")
    if home:
        return Path(home)
    cache = user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return (Path(os.devnull) if cache.parts[0] == "~" else cache) / "esrgan_jax"


def cache_problem(folder: Path | None = None) -> str | None:
    """Return why nothing can be kept in the cache, as "the cache /x cannot be written (...)"; None if it can.

    Args:
      folder: of the cache; None: `cache_dir`.
    """
    folder = folder or cache_dir()
    if folder.parent == Path(os.devnull) and folder == cache_dir():
        return "this user has no home folder, and so no cache"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"the cache {folder} cannot be written ({error.strerror})"


def go_on_without_cache(reason: str) -> None:
    """Say, once for the same reason, that nothing is kept."""
    note(
        f"{reason}: LR images and compiled networks are not kept, but made again. To keep them, set the environment "
        "variable ESRGAN_JAX_HOME to a writable folder with free space."
    )


def check_utf8(folder: Path) -> None:
    """Check that the path of a folder is UTF-8: orbax, TensorStore and array_record take no other.

    Raises:
      ConfigError: it is not.
    """
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{folder.absolute()} is no UTF-8, as folders of runs and prepared sets have to be: rename it, or "
            "choose another place."
        ) from None


def check_writable(path: Path) -> None:
    """Check that a file can be written, before hours of work go into it; create its folder.

    Raises:
      ConfigError: it cannot be written; says why.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        _refuse_special(path)
        if path.parent.is_file():
            raise NotADirectoryError(0, f"{path.parent} is a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}). Choose another place.") from error
