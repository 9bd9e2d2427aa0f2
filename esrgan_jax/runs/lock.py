"""The lock of a run folder: one training at a time writes there; reading is free."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from esrgan_jax.errors import CheckpointError, ConfigError
from esrgan_jax.system import exit

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_FILE = "train.lock"
BEAT_SECONDS = 10
"""How often the time of the file is renewed."""
DEAD_SECONDS = 60
"""Seconds after which a process of another machine that did not renew it counts as dead."""


@dataclass(frozen=True)
class Owner:
    """The process that trains in a folder.

    Attributes:
      host: name of its machine.
      process: its number there.
      since: local time when it took the folder.
      boot: identity of the machine since it was started, by which two of one name differ.
      namespace: in which the number of the process counts (containers have their own).
      start: when the process was started, in the clock of its machine: its number may be used again.
    """

    host: str
    process: int
    since: str
    boot: str
    namespace: str | None
    start: str | None

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since}"


class RunLock:
    """Keeps other trainings out of a run folder, as a context manager.

    Three signs tell whether the process that the lock file names is alive. The operating system's lock on the file
    (flock), which ends with the process, however that ends; NFS and most cluster file systems show it to other
    machines. Where there are no such locks, the process itself, if it is one of this machine. For processes of other
    machines also the time of the file, which they renew: some file systems do not show them each other's locks.

    Args:
      folder: the run folder; it is there.

    Raises:
      ConfigError: on entering: another process trains there; says which.
      OSError: on entering: the file cannot be written.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._path = folder / LOCK_FILE
        self._ended = threading.Event()
        self._checked = time.time()

    def __enter__(self) -> RunLock:
        self._handle = self._acquire()
        try:
            self._record = json.dumps(asdict(_this_process())).encode()
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, self._record)
        except OSError:
            os.close(self._handle)
            raise
        self._beating = threading.Thread(target=self._beat, name="run lock", daemon=True)
        self._beating.start()
        exit.cleanups.append(self._release)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        exit.cleanups.remove(self._release)
        self._release()
        self._beating.join()
        os.close(self._handle)

    def check(self) -> None:
        """Check that the folder is still this process's, if that was not done for `BEAT_SECONDS`.

        Raises:
          CheckpointError: another process has it: the lock file was deleted, or this process slept so long that it
            counted as dead.
        """
        if abs(time.time() - self._checked) < BEAT_SECONDS:
            return
        self._checked = time.time()
        try:
            found = self._path.read_bytes()
        except OSError:
            return  # deleted, and nobody is here yet; or the disk is away
        if found and (found != self._record or not _is_at(self._handle, self._path)):
            raise CheckpointError(
                f"{self._folder} was taken over by {_parse(found) or 'another process'}: this training stops without "
                "saving. Go on with the other one, or start this one again when that has ended."
            )

    def _acquire(self) -> int:
        """Return a handle of the lock file, locked where that is possible."""
        while True:
            # Without waiting: a pipe may lie there.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
            handle = os.open(self._path, flags, 0o666)
            try:
                locked = _flock(handle)
                owner = _parse(os.read(handle, 10_000))
                if locked is False or (owner is not None and self._lives(owner, locked, handle)):
                    raise self._taken(owner, locked, handle)
                if _is_at(handle, self._path):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # the one before deleted the file as it left

    def _lives(self, owner: Owner, locked: bool | None, handle: int) -> bool:
        this = _this_process()
        if owner.boot == this.boot:
            if locked:
                return False  # it would hold the lock
            if owner.namespace == this.namespace and owner.start is not None:
                return _start_of(owner.process) == owner.start
        return self._silent_for(handle) < DEAD_SECONDS

    def _silent_for(self, handle: int) -> float:
        """Return the seconds since the time of the file, by the clock that sets it: a server has its own."""
        now = time.time()
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=self._folder) as file:
            now = os.fstat(file.fileno()).st_mtime
        return now - os.fstat(handle).st_mtime

    def _taken(self, owner: Owner | None, locked: bool | None, handle: int) -> ConfigError:
        ways_out = "wait until it ends, or choose another --workdir."
        if owner is not None and owner.boot != _this_process().boot:
            ways_out += f" If that process is gone, delete {self._path}"
            if locked is not False:
                left = DEAD_SECONDS - max(0.0, self._silent_for(handle))
                ways_out += f", or try again in {max(1, round(left))} s, when it will count as dead"
            ways_out += "."
        return ConfigError(f"{self._folder} is being trained by {owner or 'another process'}: {ways_out}")

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def _release(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            if _is_at(self._handle, self._path):
                os.ftruncate(self._handle, 0)  # which is enough where an open file cannot be deleted
                self._path.unlink()


def check_free(folder: Path) -> None:
    """Check that nobody trains in a folder, before work that is done in front of a training.

    Raises:
      ConfigError: somebody does; says who.
    """
    if (folder / LOCK_FILE).exists():
        with contextlib.suppress(OSError), RunLock(folder):
            pass


def _flock(handle: int) -> bool | None:
    """Lock a file; False: another process has it; None: there are no such locks here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # of the file system: ENOLCK, ENOSYS, EOPNOTSUPP
        return None
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file still lies at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _this_process() -> Owner:
    host = socket.gethostname()
    return Owner(
        host=host,
        process=os.getpid(),
        since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        boot=_first_line(Path("/proc/sys/kernel/random/boot_id")) or host,
        namespace=_namespace(),
        start=_start_of(os.getpid()),
    )


def _namespace() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _start_of(process: int) -> str | None:
    """Return when a process of this machine was started, in ticks; None if there is none, or nobody tells."""
    stat = _first_line(Path(f"/proc/{process}/stat"))
    return stat.rpartition(")")[2].split()[19] if stat else None


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except OSError:
        return None


def _parse(record: bytes) -> Owner | None:
    """Return the owner that a lock file names; None if it is empty or was written by nobody who knows how."""
    try:
        return Owner(**json.loads(record))
    except (ValueError, TypeError):
        return None
