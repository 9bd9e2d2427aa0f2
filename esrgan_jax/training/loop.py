"""A whole training run: open, restore, iterate, validate, save."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from esrgan_jax.data.sources import describe_skipped
from esrgan_jax.errors import CheckpointError, WeightFileError
from esrgan_jax.metrics import METRICS
from esrgan_jax.runs.checkpoint import Best, StageProgress
from esrgan_jax.runs.checkpointer import Checkpointer
from esrgan_jax.runs.folder import newest_stage
from esrgan_jax.system import parallel, processes
from esrgan_jax.system.console import Console
from esrgan_jax.system.devices import choose_devices, count_compiles
from esrgan_jax.system.memory import peak_memory, trim_heap
from esrgan_jax.system.progress import duration, loading
from esrgan_jax.training import configuration
from esrgan_jax.training.claim import claim_run_folder
from esrgan_jax.training.feed import DeviceFeed, build_data
from esrgan_jax.training.guard import open_guard
from esrgan_jax.training.meter import open_meter
from esrgan_jax.training.model_card import model_card
from esrgan_jax.training.recipe import States
from esrgan_jax.training.restore import open_checkpointer, restore_or_begin
from esrgan_jax.training.run import Run, Stage, open_run
from esrgan_jax.training.steps import Metrics
from esrgan_jax.training.stopping import RESUME_HINT, Stopped, StopSignals
from esrgan_jax.training.validation import Scores, validate
from esrgan_jax.training.writer import export, exported_generator

MAX_DATA_WAIT = 0.1
"""The share of the time for which devices may wait for data before the log says so."""


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> Scores:
    """Run the configured stages, or what is left of them, and return the last scores of the EMA network.

    The generator comes from, in this order: 1. the newest checkpoint in `workdir`; 2. the stage before, where a
    stage begins; 3. `config.init_from`; 4. random weights. Of several processes the first one alone uses
    `workdir`; the others return no scores.

    Raises:
      UserError: configuration, data or workdir cannot be used, losses are not finite any more, or the end could
        not be saved; one sentence.
      Stopped: SIGTERM or SIGINT came, and everything is saved.
    """
    with loading():
        devices = choose_devices(config.num_devices)
    record = config.to_dict()
    configuration.check(record, len(devices) * jax.process_count())
    folder, first = Path(workdir), processes.is_first()
    with contextlib.ExitStack() as opened:
        lock, notes = processes.first_does(lambda: claim_run_folder(record, folder, opened)) or (None, [])
        console = opened.enter_context(contextlib.closing(Console(folder / "train.log" if first else None)))
        signals = opened.enter_context(StopSignals(console.say))
        run = open_run(config, folder, lock, devices, console, signals)
        for note in notes:
            console.say(f"note      {note}")
        return _run_stages(run)


def _run_stages(run: Run) -> Scores:
    start = time.perf_counter()
    names = [stage.name for stage in run.stages]
    newest = newest_stage(run.folder, names)
    newest_index = int(processes.from_first(np.int32(names.index(newest) if newest else 0)))
    states: States = {}
    scores: Scores | None = None
    unsaved: str | None = None
    for stage in run.stages[newest_index:]:
        before = jax.device_get(states)  # on the host: the next stage needs the devices' memory
        states = {}
        states, scores, unsaved = _run_stage(run, stage, before or None, unsaved)
    if scores is None:
        run.console.say("note      nothing was left to do: for more iterations, give a stage more steps")
        scores = validate(run, stage.name, states) or {}
    if run.writes:
        _say_done(run, states, scores, start)
    if unsaved:
        raise CheckpointError(
            f"{unsaved}. Free disk space and run the same command again: it resumes from the newest checkpoint."
        )
    return scores


def _say_done(run: Run, states: States, scores: Scores, start: float) -> None:
    """Draw the curves, write the model card, and say what is where and what comes next."""
    seconds = time.perf_counter() - start
    with run.console.ticking("done", lambda: "drawing curves"):
        curves = run.writer.curves()
    run.console.say(
        f"done      {duration(seconds)}, peak memory {peak_memory()}; "
        f"curves in {curves}, pictures in {run.folder / 'samples'}"
    )
    model = exported_generator(run.folder, states)
    if model.exists():
        card = run.writer.card(model, model_card(run, model, scores, seconds))
        run.console.say(f"card      {card}, for whoever gets the model: a few lines are yours to fill in")
    else:
        model = run.folder
    run.console.say(f"model     {model}")
    picture, name = (shlex.quote(str(path)) for path in (run.writer.example, model))
    run.console.say(f"next      esrgan-jax upscale {picture} --model {name} -o large.png")


def _run_stage(
    run: Run, stage: Stage, before: States | None, unsaved: str | None
) -> tuple[States, Scores | None, str | None]:
    """Run a stage, or the rest of it.

    Returns:
      Its states; the scores at its end unless nothing was left; why the newest states, or files for other programs,
      could not be written, which of the stages before was `unsaved`.
    """
    every, scores = run.options, None
    iterate = stage.recipe.build(parallel.devices_of_all_processes(run.devices), stage.patches["seed"])
    with contextlib.ExitStack() as opened:
        checkpointer = (
            opened.enter_context(contextlib.closing(open_checkpointer(run, stage))) if run.writes else None
        )

        # Where the stage stands.
        states, progress = restore_or_begin(run, stage, checkpointer, before)
        begin = progress.iteration
        if not progress.evaluated:
            scores = validate(run, stage.name, states, begin)
            progress = _progress_after_evaluation(run, progress, scores)

        # The iterations.
        skips_reported = len(run.data.skipped or ())
        feed = DeviceFeed(build_data(run.data, stage, progress.patches), run.devices)
        opened.enter_context(contextlib.closing(feed))
        meter = opened.enter_context(contextlib.closing(open_meter(run, stage, begin)))
        opened.enter_context(run.console.ticking(stage.name, lambda: meter.place))
        guard = open_guard(run, stage, states, progress)
        metrics: Metrics = {}
        stopping = False
        for iteration in range(begin + 1, stage.steps + 1):
            if run.lock is not None:
                run.lock.check()
            if iteration == begin + 1:
                with run.console.phase("data", "first batch"):
                    batch = feed.next(metrics)
                with _first_iteration(run.console, stage.name):
                    states, metrics = jax.block_until_ready(iterate(states, batch, iteration))
                run.signals.begin_unsaved()
            else:
                batch = feed.next(metrics)
                states, metrics = iterate(states, batch, iteration)
            meter.advance(feed.seconds_waited)
            progress = replace(progress, iteration=iteration, patches=progress.patches + stage.batch_size)
            last = iteration == stage.steps
            if _due(iteration, every.log_every) or last:
                if run.writes:
                    values = {key: float(value) for key, value in jax.device_get(metrics).items()}
                    silent = stage.recipe.rates(iteration) | guard.skipped_totals(states)
                    run.writer.scalars(stage.name, iteration, silent | values)
                    line, idle = meter.report(values, stage.batch_size)
                    run.console.say(line)
                    skips_reported = _say_problems(run, idle, checkpointer, skips_reported)
                guard.check(iteration, states, metrics)
            with meter.paused():
                stopping = run.agreement.any_last_time(run.signals.received)
                if _due(iteration, every.evaluate_every) or last:
                    scores = None if stopping else validate(run, stage.name, states, iteration)
                    progress = _progress_after_evaluation(run, progress, scores)
                    stopping = scores is None
                best_yet = progress.best is not None and progress.best.iteration == iteration
                if checkpointer and (_due(iteration, every.checkpoint_every) or last or stopping or best_yet):
                    checkpointer.save(states, progress)
            if stopping:
                break
        if progress.iteration > begin:
            meter.close()
            unsaved = _finish_saving(run, stage.name, progress, checkpointer, stopping)
    if run.writes:
        later_ends = [later.steps for later in run.stages[run.stages.index(stage) + 1 :]]
        try:
            export(run.folder, stage.recipe, states, later_ends, overwrite=progress.iteration > begin)
        except WeightFileError as error:  # the networks are in the checkpoint
            unsaved = unsaved or str(error).rstrip(".")
            run.console.say(f"warning   {error}")
    return states, scores, unsaved


def _finish_saving(
    run: Run, name: str, progress: StageProgress, checkpointer: Checkpointer | None, stopping: bool
) -> str | None:
    """Wait until the last checkpoint is whole; return why it could not be saved.

    Raises:
      Stopped: a signal came.
      CheckpointError: and nothing could be saved.
    """
    unsaved = None
    if checkpointer is not None:
        with run.console.phase("save", f"{name} stage"):
            checkpointer.wait()
        unsaved = checkpointer.problem
    if run.agreement.any(stopping or run.signals.received):
        if unsaved:
            raise CheckpointError(
                f"Stopped, but {unsaved}: run the same command to resume from the newest checkpoint before it."
            )
        run.console.say(f"stop      {name} stage at iteration {progress.iteration} is saved; {RESUME_HINT}")
        raise Stopped(run.signals.exit_code)
    run.signals.end_unsaved()
    return unsaved


def _due(iteration: int, every: int) -> bool:
    return bool(every) and iteration % every == 0


@contextlib.contextmanager
def _first_iteration(console: Console, name: str) -> Any:
    """Around the first iteration: says how long compiling and running took."""
    start = time.perf_counter()
    console.announce("compile", f"{name} stage")
    with count_compiles() as compiled, console.ticking("compile", lambda: f"{name} stage"):
        yield
    trim_heap()
    seconds = time.perf_counter() - start
    console.say(
        f"compile   {name} stage: {compiled['seconds']:.1f} s; first step: "
        f"{seconds - compiled['seconds']:.1f} s; peak memory {peak_memory()}"
    )


def _say_problems(run: Run, idle: float, checkpointer: Checkpointer | None, skips_reported: int) -> int:
    """Say what is wrong at present; return how many skipped images the log knows."""
    if idle > MAX_DATA_WAIT:
        run.console.say(
            f"note      the devices waited for data {idle:.0%} of the time: prepare sub-images (esrgan-jax prepare), "
            "read with more threads (--config.data.num_threads), or move the data to a faster disk"
        )
    for problem in (checkpointer and checkpointer.problem, run.writer.problem, run.console.problem):
        if problem:
            run.console.say(f"warning   {problem}: training goes on and tries again the next time")
    skipped = run.data.skipped or {}
    if len(skipped) > skips_reported:
        run.console.say(f"note      {describe_skipped(skipped)}")
    return len(skipped)


def _progress_after_evaluation(run: Run, progress: StageProgress, scores: Scores | None) -> StageProgress:
    """The progress after an evaluation, or after one that a signal cut short."""
    if scores is None:
        return replace(progress, evaluated=False)
    best, metric = progress.best, run.options.keep_best
    score = scores.get(metric, math.nan)
    # Nothing is saved at iteration 0, so that it cannot be the best.
    sign = 1 if metric not in METRICS or METRICS[metric].larger_is_better else -1
    better = best is None or best.metric != metric or sign * score > sign * best.score
    if progress.iteration and not math.isnan(score) and better:
        best = Best(metric, score, progress.iteration)
    return replace(progress, evaluated=True, best=best)
