"""The speed of a stage: a bar on a terminal, rates and time left for the log."""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from esrgan_jax.system.progress import Bar, bar, duration, is_terminal
from esrgan_jax.training.run import Run, Stage


@dataclass(frozen=True)
class _Reading:
    """The time of a meter at one moment, and its counts."""

    time: float
    done: int
    paused: float
    waited: float


class Meter:
    """A counter of the iterations of a stage: a bar on a terminal, rates and time left for the log.

    Bar and rates begin with the second iteration, because the first one compiles.

    Args:
      name: of the stage.
      total: its iterations.
      done: those of them that are done.
      later: iterations like these that the stages behind this one amount to at least; 0: there are none.
    """

    def __init__(self, name: str, total: int, done: int, later: float = 0):
        self._name, self._total, self._done, self._later = name, total, done, later
        self._paused = self._waited = 0.0
        self._bar: Bar | None = None
        self._start: _Reading | None = None
        self._last: _Reading | None = None

    @property
    def place(self) -> str:
        """How far the stage is: "30/1000"."""
        return f"{self._done}/{self._total}"

    def advance(self, waited: float = 0.0) -> None:
        """Count one finished iteration, for which the devices `waited` that many seconds for data."""
        self._done += 1
        if self._bar is None:
            self._start = self._last = self._mark()
            self._bar = bar(
                total=self._total,
                initial=self._done,
                name=self._name,
                disable=not is_terminal(sys.stderr),  # where the log's lines say the same
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            )
        else:
            self._waited += waited
            self._bar.update()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the work inside this context out of the speed of iterations."""
        start = time.perf_counter()
        yield
        self._paused += time.perf_counter() - start

    def report(self, losses: dict[str, float], batch_size: int) -> tuple[str, float]:
        """Return a line about the time since the last report, and the share of it spent waiting for data, 0 to 1.

        The line has iteration, losses, images per second and time left, for the stage and the run.
        """
        line = f"{self._name:<9} {self.place}: " + ", ".join(
            f"{name} {value:.4g}" for name, value in losses.items()
        )
        start, last, now = self._start, self._last, self._mark()
        if start is None or last is None or last.done == now.done:
            return line, 0.0
        self._last = now
        seconds = max(now.time - last.time - (now.paused - last.paused), 1e-9)
        speed = f"{batch_size * (now.done - last.done) / seconds:.1f} images/s"
        if self._bar is not None:  # one sum for all losses of the generator, for lack of space
            loss = sum(value for name, value in losses.items() if name.startswith("l_g_"))
            self._bar.set_postfix_str(f"loss {loss:.4g}, {speed}", refresh=False)
        per_iteration = (now.time - start.time) / (now.done - start.done)
        left = per_iteration * (self._total - now.done)
        text = f"{duration(left)} left"
        if self._later:
            text += f", for the run at least {duration(left + per_iteration * self._later)}"
        return f"{line}; {speed}, {text}", (now.waited - last.waited) / seconds

    def _mark(self) -> _Reading:
        return _Reading(time.perf_counter(), self._done, self._paused, self._waited)

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


def open_meter(run: Run, stage: Stage, done: int) -> Meter:
    """Return the meter of a stage that goes on after so many iterations."""
    return Meter(stage.name, stage.steps, done, _work_after(run, stage))


def _work_after(run: Run, stage: Stage) -> float:
    """Return how many iterations of `stage` those of the later stages amount to, by their pixels.

    A GAN stage takes longer for a pixel: it is at least that.
    """

    def pixels(of: Stage) -> int:
        return of.batch_size * of.patches["gt_size"] ** 2

    later = run.stages[run.stages.index(stage) + 1 :]
    return sum(other.steps * pixels(other) for other in later) / pixels(stage)
