"""Where a stage begins: at the newest checkpoint, or with new states; the same in every process."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

from esrgan_jax.runs.checkpoint import StageProgress
from esrgan_jax.runs.checkpointer import Checkpointer
from esrgan_jax.system import parallel, processes
from esrgan_jax.training.build import initial_states, shapes_of_states
from esrgan_jax.training.run import Run
from esrgan_jax.training.stages import Stage, States


def open_checkpointer(run: Run, name: str) -> Checkpointer:
    """The checkpoints of a stage, of which those stay that the configuration wants."""
    config = run.config
    return Checkpointer(
        run.folder, name, config.to_dict(), max_to_keep=config.max_to_keep, keep_every=config.keep_every
    )


def restore_or_begin(
    run: Run, stage: Stage, checkpointer: Checkpointer | None, before: States | None
) -> tuple[States, StageProgress]:
    """The states on the devices, from the newest checkpoint or new ones, as process 0 has them."""
    done = int(processes.from_first(np.int32((checkpointer and checkpointer.latest()) or 0)))
    with run.console.phase(
        "restore" if done else "init", f"{stage.name} stage" + f" at iteration {done}" * bool(done)
    ):
        progress = StageProgress()
        if checkpointer is None:
            shapes = shapes_of_states(run, stage)
            states = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        elif done:
            states, progress = checkpointer.restore(
                shapes_of_states(run, stage), lambda text: run.console.say(f"warning   {text}")
            )
        else:
            states = initial_states(run, stage, before)
        states = parallel.replicate(processes.from_first(states), run.devices)
        numbers = np.array([progress.iteration, progress.patches, progress.evaluated], np.int32)
        iteration, patches, evaluated = (int(number) for number in processes.from_first(numbers))
    if run.writes:
        run.writer.resume(stage.name, iteration, bool(evaluated))
    return states, replace(progress, iteration=iteration, patches=patches, evaluated=bool(evaluated))
