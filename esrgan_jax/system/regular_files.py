"""Opening regular files, and nothing else: a pipe or a device may never end, or never begin."""

from __future__ import annotations

import errno
import io
import os
import stat

from esrgan_jax.errors import DataError

_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def special_kind(mode: int) -> str | None:
    """Return what a path is that is neither file nor folder, as "a pipe"; None for those two."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return _SPECIAL.get(stat.S_IFMT(mode), "no file")


class NoFileError(DataError):
    """A path that leads to no file: it is missing, a dead link, a pipe, a device or a folder."""


def file_status(path: str | os.PathLike) -> os.stat_result:
    """Return the status of a file, or of the file that a link leads to.

    Raises:
      NoFileError: there is none; says what is there.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise NoFileError(f"{path} {_without_file(path, error)}") from error
    if stat.S_ISDIR(status.st_mode):
        try:
            os.scandir(os.fspath(path)).close()
        except OSError as error:
            raise NoFileError(
                f"{path} is a folder that cannot be read ({error.strerror}): change its permissions, or remove it."
            ) from error
        raise NoFileError(f"{path} cannot be opened (it is a folder): give a file.")
    if name := special_kind(status.st_mode):
        raise NoFileError(f"{path} is {name}, which may never end: save what comes as a file, and give that.")
    return status


def open_file(path: str | os.PathLike) -> io.BufferedReader:
    """Open a regular file for reading, without ever waiting for another program.

    Raises:
      NoFileError: see `file_status`.
      OSError: it cannot be opened.
    """
    file_status(path)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    # Without waiting, should it have become a pipe since.
    file = open(os.open(path, flags | getattr(os, "O_NONBLOCK", 0)), "rb")  # noqa: PTH123, SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise NoFileError(f"{path} is no file any more: start again.")


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a whole regular file; see `open_file`."""
    with open_file(path) as file:
        return file.read()


def _without_file(path: str | os.PathLike, error: OSError) -> str:
    """Say why a path leads nowhere, and what to do."""
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself: remove it."
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and os.path.islink(path):  # noqa: PTH114
        return f"is a link to {os.readlink(os.fspath(path))}, which does not exist: mend or remove it."  # noqa: PTH115
    return f"cannot be opened ({error.strerror}): check the path."
