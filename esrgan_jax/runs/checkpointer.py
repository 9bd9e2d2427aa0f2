"""Save a stage's checkpoints in the background, delete old ones, restore the newest intact one."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from esrgan_jax.errors import CheckpointError
from esrgan_jax.runs import checkpoint
from esrgan_jax.runs.checkpoint import BEST, DAMAGED, UNFINISHED, DamagedCheckpointError, StageProgress
from esrgan_jax.runs.folder import iterations, newest_stage, stage_folder

MOST_FAILURES = 3
"""After so many saves in a row that failed a run stops: what it trained since the newest checkpoint would be lost."""


class Checkpointer:
    """Saves a stage in the background and deletes what is no longer wanted, once the newer one is whole.

    Args:
      run_folder: the workdir.
      stage: psnr or gan.
      config: the run's configuration, which goes into every checkpoint.
      max_to_keep: how many of the newest stay; None: all.
      keep_every: those after every so many iterations stay too; 0: none. The best one always does.

    Attributes:
      problem: why the last save failed, None if it did not; training goes on and tries again, unless nothing was
        ever saved, or not for `MOST_FAILURES` times in a row.
    """

    def __init__(
        self,
        run_folder: Path,
        stage: str,
        config: dict[str, Any] | None = None,
        *,
        max_to_keep: int | None = None,
        keep_every: int = 0,
    ):
        self.problem: str | None = None
        self._failures = 0  # in a row
        self._run_folder, self._stage, self._config = run_folder, stage, config or {}
        self._max_to_keep, self._keep_every = max_to_keep, keep_every
        self._folder = stage_folder(run_folder, stage)
        self._thread: threading.Thread | None = None
        for left_over in self._folder.glob(f"{UNFINISHED}*"):  # by a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)

    def latest(self) -> int | None:
        """Return the newest saved iteration, or None."""
        saved = iterations(self._run_folder, self._stage)
        return saved[-1] if saved else None

    def restore(self, shapes: Any, warn: Callable[[str], None]) -> tuple[Any, StageProgress]:
        """Return the newest undamaged states as numpy arrays, shaped like `shapes`, and where they stand.

        Damaged checkpoints are renamed, so that nothing counts them any more, and reported to `warn`.

        Raises:
          ConfigError: what was saved is not shaped like that.
          CheckpointError: all of them are damaged, or one cannot be read.
        """
        reasons = []
        while (iteration := self.latest()) is not None:
            folder = self._folder / str(iteration)
            try:
                states, progress = checkpoint.read(folder, shapes)
            except DamagedCheckpointError as damage:
                reasons.append(str(damage))
                aside = folder.with_name(folder.name + DAMAGED)
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
                before = self.latest()
                if before is not None:
                    warn(f"{damage}: going on from iteration {before} instead of {iteration}")
            except OSError as error:
                raise CheckpointError(
                    f"{folder} cannot be read ({error.strerror or error}): make it readable and try again."
                ) from error
            else:
                return states, progress
        raise CheckpointError(
            f"No checkpoint of the {self._stage} stage is whole ({'; '.join(reasons)}): restore the files and take "
            f"{DAMAGED} off the folders' names, delete {self._folder} to begin the stage anew, or choose another "
            "--workdir."
        )

    def save(self, states: Any, progress: StageProgress) -> None:
        """Start saving; the states may be donated at once. An iteration that is there already is left alone.

        Raises:
          CheckpointError: the run has no checkpoint yet, and this one could not be written either; or it is the last
            of `MOST_FAILURES`.
        """
        self.wait()
        if self.latest() == progress.iteration:
            return
        # Copies: on a CPU the arrays may share memory with the devices', which the next step overwrites.
        on_host = jax.tree.map(np.array, jax.device_get(states))
        self._thread = threading.Thread(target=self._save, args=(on_host, progress), name="checkpointer")
        first = newest_stage(self._run_folder) is None
        last_try = self._failures == MOST_FAILURES - 1
        self._thread.start()
        if first or last_try:  # waited for: a run must not train for nothing
            self.wait()
            if self.problem and first:
                raise CheckpointError(
                    f"Training stops, because it would be lost: {self._run_folder} has no checkpoint yet, and "
                    f"{self.problem}. Mend that, or choose another --workdir, and start again."
                )
            if self.problem:
                raise CheckpointError(
                    f"Training stops, because it would be lost: {self.problem}, and neither could the "
                    f"{MOST_FAILURES - 1} before it. Mend that and run the same command: it resumes from the newest "
                    f"checkpoint in {self._run_folder}."
                )

    def _save(self, states: Any, progress: StageProgress) -> None:
        try:
            checkpoint.write(self._folder / str(progress.iteration), states, progress, self._config)
        except Exception as error:  # a full disk has many names in the libraries below
            self.problem = (
                f"the checkpoint of iteration {progress.iteration} could not be saved ({_reason(error)})"
            )
            self._failures += 1
            return
        self.problem, self._failures = None, 0
        with contextlib.suppress(OSError):
            self._delete_old(progress)

    def _delete_old(self, progress: StageProgress) -> None:
        saved = iterations(self._run_folder, self._stage)
        kept = set(saved[-self._max_to_keep :] if self._max_to_keep else saved)
        if self._keep_every:
            kept |= {iteration for iteration in saved if iteration % self._keep_every == 0}
        if progress.best is not None and progress.best.iteration in saved:
            kept.add(progress.best.iteration)
            link = self._folder / f"{UNFINISHED}{BEST}"
            link.unlink(missing_ok=True)
            link.symlink_to(str(progress.best.iteration), target_is_directory=True)
            link.replace(self._folder / BEST)
        for iteration in set(saved) - kept:
            # Renamed first: a folder that is half deleted must not look like a checkpoint.
            to_delete = self._folder / f"{UNFINISHED}{iteration}"
            (self._folder / str(iteration)).replace(to_delete)
            shutil.rmtree(to_delete, ignore_errors=True)

    def wait(self) -> None:
        """Wait for what is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    close = wait


def _reason(error: Exception) -> str:
    text = str(error)
    for code in (
        "No space left on device",
        "Disk quota exceeded",
        "Read-only file system",
        "Input/output error",
    ):
        if code in text:
            return code
    return getattr(error, "strerror", None) or (text.splitlines() or [""])[0][:200] or type(error).__name__
