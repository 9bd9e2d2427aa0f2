"""The EMA network against the held-out images, in the middle of a run."""

from __future__ import annotations

import contextlib
import time

from esrgan_jax.evaluation.scores import Upscale, evaluate, mean_scores
from esrgan_jax.metrics import METRICS
from esrgan_jax.system import parallel
from esrgan_jax.training.recipe import States
from esrgan_jax.training.run import Run

Scores = dict[str, float]


class _Interrupted(Exception):  # noqa: N818 - nothing is wrong
    """A signal came in the middle of a picture."""


def validate(run: Run, name: str, states: States, iteration: int | None = None) -> Scores | None:
    """Score the EMA network on the held-out images; after an iteration also record the scores and a sample.

    Process 0 works, the others keep in step. None if a signal came first, which is looked for after each tile.
    """
    start = time.perf_counter()
    when = "" if iteration is None else f" {iteration}"
    every_score: list[Scores] = []
    results = evaluate(_interruptible(run, states), run.data.validation, run.options.scale)
    count = len(run.data.validation)
    with run.console.ticking("evaluate", lambda: f"{name}{when}, {len(every_score)} of {count}"):
        for _ in range(count):
            if run.writes:
                with contextlib.suppress(_Interrupted):
                    result = next(results)
                    if iteration is not None and not every_score:
                        run.writer.sample(name, iteration, result)
                    every_score.append(result.scores)
            if run.agreement.any(run.signals.received):
                return None
    if not run.writes:
        return {}
    scores = mean_scores(every_score)
    if iteration is not None:
        bicubic = {f"bicubic_{key}": value for key, value in run.data.bicubic.items()}
        run.writer.scalars(name, iteration, scores | bicubic)
    seconds = time.perf_counter() - start
    run.console.say(f"evaluate  {name}{when}: {compared_scores(scores, run.data.bicubic)}; {seconds:.1f} s")
    return scores


def compared_scores(network: Scores, bicubic: Scores) -> str:
    """Return the headline metrics of METRICS in words, with bicubic's and what the network gains over it."""
    return "EMA network " + ", ".join(
        f"{metric.title} {metric.text(network[key])} "
        f"(bicubic {metric.number(bicubic[key])}, {network[key] - bicubic[key]:+.{metric.digits}f})"
        for key, metric in METRICS.items()
        if metric.headline
    )


def _interruptible(run: Run, states: States) -> Upscale:
    """The EMA network as a function of pictures that gives up when a signal comes."""

    def after_tile(done: int, total: int) -> None:
        if run.signals.received:
            raise _Interrupted

    run.upscaler.params = parallel.first_replica(states["g"].ema)
    return lambda picture: run.upscaler(picture, progress=after_tile)
