"""Updates that were skipped because a loss or gradient was not finite: reported, and in the end a reason to stop."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from esrgan_jax.errors import DataError, DivergedError
from esrgan_jax.system.files import atomic_write
from esrgan_jax.training.feed import locate_batch
from esrgan_jax.training.recipe import States
from esrgan_jax.training.run import Run, Stage

if TYPE_CHECKING:
    from esrgan_jax.data.pipeline import LocatedPatch
    from esrgan_jax.runs.checkpoint import StageProgress

NETWORKS = {"g": "generator", "d": "discriminator"}


class Guard:
    """Watches the counters that the steps keep on the devices (`state.Skipped`).

    Every process asks it alike, whenever metrics are read; one of them says and writes.

    Args:
      stage: psnr or gan.
      states: where the run begins; what was skipped before is not reported again.
      max_skipped: updates of one network in a row after which the run stops; 0: never.
      locate: iteration of this stage -> where the patches of its batch come from.
      folder: for the dump; None in the processes that write nothing.
      say: tells people.
    """

    def __init__(
        self,
        stage: str,
        states: States,
        *,
        max_skipped: int,
        locate: Callable[[int], Sequence[LocatedPatch]],
        folder: Path | None,
        say: Callable[[str], None],
    ):
        self._stage = stage
        self._max_skipped = max_skipped
        self._locate = locate
        self._folder = folder
        self._say = say
        self._reported = _read(states)

    def skipped_totals(self, states: States) -> dict[str, float]:
        """Return how many updates of each network were skipped in this stage so far, {"skipped_g": n}."""
        return {f"skipped_{name}": counts["total"] for name, counts in _read(states).items()}

    def check(self, iteration: int, states: States, metrics: dict[str, Any]) -> None:
        """Report updates that were skipped since the last time.

        Args:
          iteration: of this stage.
          states: after it.
          metrics: of it.

        Raises:
          DivergedError: too many in a row.
        """
        found = _read(states)
        for name, counts in found.items():
            new = counts["total"] - self._reported[name]["total"]
            if new:
                self._say(
                    f"warning   {self._stage} {iteration}: {new} update{'s' * (new > 1)} of the {NETWORKS[name]} "
                    f"not applied, because a loss or gradient was not finite; last in iteration {counts['last']}"
                )
        self._reported = found
        worst = max(found, key=lambda name: found[name]["in_a_row"])
        if self._max_skipped and found[worst]["in_a_row"] >= self._max_skipped:
            raise self._diverged(iteration, found, worst, metrics)

    def _diverged(
        self, iteration: int, found: dict[str, dict[str, int]], worst: str, metrics: dict[str, Any]
    ) -> DivergedError:
        optimizer = f"{self._stage}.optim_{worst}"
        where = ""
        if self._folder is not None:
            path = self._folder / f"nan_dump_{iteration:07d}.json"
            try:
                self._dump(path, iteration, found, found[worst]["last"], metrics)
                where = f"; {path} has the losses and the patches"
            except OSError as error:
                where = f"; {path} could not be written ({error.strerror})"
        return DivergedError(
            f"The {self._stage} stage stopped at iteration {iteration}, because losses or gradients of the last "
            f"{found[worst]['in_a_row']} updates of the {NETWORKS[worst]} were not finite (max_skipped="
            f"{self._max_skipped}){where}: lower {optimizer}.lr or set {optimizer}.max_grad_norm, and "
            "--config.resume=force goes on from the newest checkpoint."
        )

    def _dump(
        self,
        path: Path,
        iteration: int,
        found: dict[str, dict[str, int]],
        last: int,
        metrics: dict[str, Any],
    ) -> None:
        try:
            patches: Any = [patch._asdict() for patch in self._locate(last)]
        except DataError as error:  # an image that has gone since
            patches = str(error)
        dump = {
            "stage": self._stage,
            "iteration": iteration,
            "max_skipped": self._max_skipped,
            "skipped": found,
            "metrics": {name: _json_number(value) for name, value in jax.device_get(metrics).items()},
            "batch": {"iteration": last, "patches": patches},
        }
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(dump, indent=1) + "\n", encoding="utf-8")


def open_guard(run: Run, stage: Stage, states: States, progress: StageProgress) -> Guard:
    """Return the guard of a stage that goes on from `progress`."""

    def locate(iteration: int) -> list[LocatedPatch]:
        batches = iteration - 1 - progress.iteration
        return locate_batch(run.data, stage, progress.patches + batches * stage.batch_size)

    return Guard(
        stage.name,
        states,
        max_skipped=run.options.max_skipped,
        locate=locate,
        folder=run.folder if run.writes else None,
        say=run.console.say,
    )


def _read(states: States) -> dict[str, dict[str, int]]:
    """{"g": {"total", "in_a_row", "last"}} as Python's numbers."""
    skipped = jax.device_get({name: state.skipped for name, state in states.items()})
    return {
        name: {"total": int(counts.total), "in_a_row": int(counts.in_a_row), "last": int(counts.last)}
        for name, counts in skipped.items()
    }


def _json_number(value: Any) -> float | str:
    """JSON has no word for what is not finite: "nan", "inf" or "-inf"."""
    number = float(value)
    return number if math.isfinite(number) else str(number)
