"""A whole training run: build, restore, iterate, evaluate, save."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from esrgan_jax.data.sources import describe_skipped
from esrgan_jax.errors import CheckpointError, WeightFileError
from esrgan_jax.runs.checkpoint import Best, StageProgress
from esrgan_jax.runs.checkpointer import Checkpointer
from esrgan_jax.runs.folder import newest_stage
from esrgan_jax.system import processes
from esrgan_jax.system.devices import choose_devices, count_compiles
from esrgan_jax.system.memory import peak_memory, trim_heap
from esrgan_jax.system.progress import Console, Meter, duration
from esrgan_jax.training import configuration
from esrgan_jax.training.build import build_data, build_stage
from esrgan_jax.training.export import export
from esrgan_jax.training.feed import DeviceFeed
from esrgan_jax.training.guard import open_guard
from esrgan_jax.training.restore import open_checkpointer, restore_or_begin
from esrgan_jax.training.run import Run, claim_run_folder, open_run
from esrgan_jax.training.stages import Stage, States
from esrgan_jax.training.steps import Metrics
from esrgan_jax.training.stopping import RESUME_HINT, Stopped, StopSignals
from esrgan_jax.training.validation import Scores, validate
from esrgan_jax.training.writer import Writer

MAX_DATA_WAIT = 0.1
"""The share of the time for which devices may wait for data before the log says so."""


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> Scores:
    """Runs the configured stages, or what is left of them, and returns the last scores of the EMA network.

    The generator comes from, in this order: 1. the newest checkpoint in `workdir`; 2. the stage before, where a
    stage begins; 3. `config.init_from`; 4. random weights. Of several processes the first one alone uses
    `workdir`; the others return no scores.

    Raises:
      UserError: configuration, data or workdir cannot be used, losses are not finite any more, or the end could
        not be saved; one sentence.
      Stopped: SIGTERM or SIGINT came, and everything is saved.
    """
    devices = choose_devices(config.num_devices)
    configuration.check(config.to_dict(), len(devices) * jax.process_count())
    folder, first = Path(workdir), processes.is_first()
    notes = claim_run_folder(config, folder) if first else []
    with (
        contextlib.closing(Console(folder / "train.log" if first else None)) as console,
        StopSignals(console.say) as signals,
    ):
        run = open_run(config, folder, devices, console, Writer(folder, configuration.STAGES), signals)
        for note in notes:
            console.say(f"note      {note}")
        return _run_stages(run)


def _run_stages(run: Run) -> Scores:
    start = time.perf_counter()
    names = list(run.config.stages)
    newest = newest_stage(run.folder, names)
    newest_index = int(processes.from_first(np.int32(names.index(newest) if newest else 0)))
    states: States = {}
    scores: Scores | None = None
    for name in names[newest_index:]:
        before = jax.device_get(states)  # on the host: the next stage needs the devices' memory
        states = {}
        states, scores = _run_stage(run, name, before or None)
    if scores is None:
        run.console.say("note      nothing was left to do: for more iterations, give a stage more steps")
        scores = validate(run, name, states) or {}
    if run.writes:
        run.console.say(
            f"done      {duration(time.perf_counter() - start)}, peak memory {peak_memory()}; "
            f"curves in {run.writer.curves()}, pictures in {run.folder / 'samples'}"
        )
    if run.unsaved:
        raise CheckpointError(
            f"{run.unsaved}: make room, and the same command goes on from the newest checkpoint."
        )
    return scores


def _run_stage(run: Run, name: str, before: States | None) -> tuple[States, Scores | None]:
    """Runs a stage, or the rest of it; returns its states, and the scores at its end unless nothing was left."""
    config, every, scores = run.config[name], run.config, None
    stage, schedules = build_stage(run, name)
    with contextlib.ExitStack() as opened:
        checkpointer = (
            opened.enter_context(contextlib.closing(open_checkpointer(run, name))) if run.writes else None
        )

        # Where the stage stands.
        states, progress = restore_or_begin(run, stage, checkpointer, before)
        begin = progress.iteration
        if not progress.evaluated:
            scores = validate(run, name, states, begin)
            progress = _progress_after_evaluation(run, progress, scores)

        # The iterations.
        feed = opened.enter_context(
            contextlib.closing(DeviceFeed(build_data(run, name, progress.patches), run.devices))
        )
        meter = opened.enter_context(contextlib.closing(Meter(name, config.steps, begin)))
        guard = open_guard(run, name, states, progress)
        losses: Metrics = {}
        stopping = False
        for iteration in range(begin + 1, config.steps + 1):
            if iteration == begin + 1:
                with run.console.phase("data", "first batch"):
                    batch = feed.next(losses)
                states, losses = _first_iteration(run.console, stage, states, batch, iteration)
                run.signals.begin_unsaved()
            else:
                batch = feed.next(losses)
                states, losses = stage.iterate(states, batch, iteration)
            meter.advance(feed.seconds_waited)
            progress = replace(progress, iteration=iteration, patches=progress.patches + config.batch_size)
            last = iteration == config.steps
            if _due(iteration, every.log_every) or last:
                if run.writes:
                    rates = {key: float(schedule(iteration - 1)) for key, schedule in schedules.items()}
                    silent = rates | guard.skipped_totals(states)
                    _log(run, name, progress, meter, losses, silent, checkpointer)
                guard.check(iteration, states, losses)
            with meter.paused():
                stopping = run.agreement.any_last_time(run.signals.received)
                if _due(iteration, every.evaluate_every) or last:
                    scores = None if stopping else validate(run, name, states, iteration)
                    progress = _progress_after_evaluation(run, progress, scores)
                    stopping = scores is None
                best_yet = progress.best is not None and progress.best.iteration == iteration
                if checkpointer and (_due(iteration, every.checkpoint_every) or last or stopping or best_yet):
                    checkpointer.save(states, progress)
            if stopping:
                break
        if progress.iteration > begin:
            meter.close()
            _finish_saving(run, name, progress, checkpointer, stopping)
    if run.writes:
        _export(run, stage, states, again=progress.iteration > begin)
    return states, scores


def _finish_saving(
    run: Run, name: str, progress: StageProgress, checkpointer: Checkpointer | None, stopping: bool
) -> None:
    """Waits until the last checkpoint is whole.

    Raises:
      Stopped: a signal came.
      CheckpointError: and nothing could be saved.
    """
    if checkpointer is not None:
        with run.console.phase("save", f"{name} stage"):
            checkpointer.wait()
        run.unsaved = checkpointer.problem
    if run.agreement.any(stopping or run.signals.received):
        if run.unsaved:
            raise CheckpointError(
                f"stopped, but {run.unsaved}: the same command goes on from the newest checkpoint before it."
            )
        run.console.say(f"stop      {name} stage at iteration {progress.iteration} is saved; {RESUME_HINT}")
        raise Stopped
    run.signals.end_unsaved()


def _export(run: Run, stage: Stage, states: States, again: bool) -> None:
    stages = list(run.config.stages)
    later = [run.config[name].steps for name in stages[stages.index(stage.name) + 1 :]]
    try:
        export(run.folder, run.generator, stage, states, later, again)
    except WeightFileError as error:  # the networks are in the checkpoint
        run.unsaved = run.unsaved or str(error).rstrip(".")
        run.console.say(f"warning   {error}")


def _due(iteration: int, every: int) -> bool:
    return bool(every) and iteration % every == 0


def _first_iteration(console: Console, stage: Stage, states: States, batch: Any, iteration: int) -> Any:
    """Runs one iteration and says how long compiling and running took."""
    start = time.perf_counter()
    console.announce("compile", f"{stage.name} stage")
    with count_compiles() as compiled:
        result = jax.block_until_ready(stage.iterate(states, batch, iteration))
    trim_heap()
    seconds = time.perf_counter() - start
    console.say(
        f"compile   {stage.name} stage: {compiled['seconds']:.1f} s; first step: "
        f"{seconds - compiled['seconds']:.1f} s; peak memory {peak_memory()}"
    )
    return result


def _log(
    run: Run,
    name: str,
    progress: StageProgress,
    meter: Meter,
    losses: Metrics,
    silent: dict[str, float],
    checkpointer: Checkpointer | None,
) -> None:
    """Records the losses of an iteration, and `silent` beside them; says what is wrong at present."""
    values = {key: float(value) for key, value in jax.device_get(losses).items()}
    run.writer.scalars(name, progress.iteration, silent | values)
    line, idle = meter.report(values, run.config[name].batch_size)
    run.console.say(line)
    if idle > MAX_DATA_WAIT:
        run.console.say(
            f"note      the devices waited for data {idle:.0%} of the time: prepare sub-images (esrgan-jax prepare), "
            "read with more threads (--config.data.num_threads), or move the data to a faster disk"
        )
    for problem in (checkpointer and checkpointer.problem, run.writer.problem, run.console.problem):
        if problem:
            run.console.say(f"warning   {problem}: training goes on, and the next time is another try")
    if run.skipped and len(run.skipped) > run.skips_told:
        run.skips_told = len(run.skipped)
        run.console.say(f"note      {describe_skipped(run.skipped)}")


def _progress_after_evaluation(run: Run, progress: StageProgress, scores: Scores | None) -> StageProgress:
    """The progress after an evaluation, or after one that a signal cut short."""
    if scores is None:
        return replace(progress, evaluated=False)
    best, metric = progress.best, run.config.keep_best
    score = scores.get(metric, math.nan)
    if not math.isnan(score) and (best is None or best.metric != metric or score > best.score):
        best = Best(metric, score, progress.iteration)
    return replace(progress, evaluated=True, best=best)
