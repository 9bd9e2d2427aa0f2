"""Where a stage begins: at its newest checkpoint, the stage before, a file, or random; the same in every process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from esrgan_jax.errors import ConfigError
from esrgan_jax.runs.checkpoint import StageProgress
from esrgan_jax.runs.checkpointer import Checkpointer
from esrgan_jax.system import parallel, processes
from esrgan_jax.training.recipe import Recipe, States
from esrgan_jax.training.run import Options, Run, Stage
from esrgan_jax.weights.load import load_discriminator_weights, load_generator_weights
from esrgan_jax.weights.network import architecture_fields, architecture_name

CHANNELS = ("num_in_ch", "num_out_ch")
FIELDS = {"scale": "scale", "input_size": "gan.gt_size"}
"""Where the configuration has what a network knows by another name than `network_g.NAME`."""


def open_checkpointer(run: Run, stage: Stage) -> Checkpointer:
    """Return the checkpoints of a stage, of which those stay that the configuration wants."""
    options = run.options
    return Checkpointer(
        run.folder, stage.name, run.record, max_to_keep=options.max_to_keep, keep_every=options.keep_every
    )


def restore_or_begin(
    run: Run, stage: Stage, checkpointer: Checkpointer | None, before: States | None
) -> tuple[States, StageProgress]:
    """Return the states on the devices, from the newest checkpoint or new ones, as process 0 has them."""
    done = int(processes.from_first(np.int32((checkpointer and checkpointer.latest()) or 0)))
    with run.console.phase(
        "restore" if done else "init", f"{stage.name} stage" + f" at iteration {done}" * bool(done)
    ):
        progress = StageProgress(evaluated=False)  # a stage begins with a score
        if checkpointer is not None and not done:
            states = initial_states(run.options, stage.recipe, before, run.console.say)
        else:
            shapes = jax.eval_shape(lambda: stage.recipe.initial_states(run.options.seed))
            if checkpointer is None:
                states = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
            else:
                states, progress = checkpointer.restore(
                    shapes, lambda text: run.console.say(f"warning   {text}")
                )
        states = parallel.replicate(processes.from_first(states), run.devices)
        numbers = np.array([progress.iteration, progress.patches, progress.evaluated], np.int32)
        iteration, patches, evaluated = (int(number) for number in processes.from_first(numbers))
    if run.writes:
        run.writer.resume(stage.name, iteration, bool(evaluated))
    return states, replace(progress, iteration=iteration, patches=patches, evaluated=bool(evaluated))


def initial_states(
    options: Options, recipe: Recipe, before: States | None, say: Callable[[str], None] = print
) -> States:
    """Return states at iteration 0: from the stage before, from `init_from`, or random; `say` what stays random.

    Raises:
      ConfigError: a file holds another network than the recipe's.
      WeightFileError: a file cannot be read.
    """
    given: dict[str, Any] = {}
    if before is not None:
        given = {"params": before["g"].params, "ema": before["g"].ema}
    elif options.init_from not in (None, "scratch"):
        module, given["params"], given["ema"] = load_generator_weights(options.init_from, options.param_key_g)
        check_same_network(
            module, recipe.generator, "network_g", options.init_from, strict=options.strict_load_g
        )
        if not options.strict_load_g:
            given, left = _load_what_fits(given["params"], recipe.initial_states(options.seed)["g"].params)
            names = f", but for {', '.join(left)}, random" if left else ""
            say(f"note      the generator starts from {options.init_from}{names}; its EMA as a copy of it")
    if "d" in recipe.modules and options.init_from_d is not None:
        module, given["d_variables"] = load_discriminator_weights(options.init_from_d)
        check_same_network(module, recipe.modules["d"], "network_d", options.init_from_d)
    return recipe.initial_states(options.seed, **given)


def _load_what_fits(params: Any, start: Any) -> tuple[dict[str, Any], list[str]]:
    """`start` with the arrays of `params` that have its shapes, and the names of those that have not."""
    loaded = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    left: list[str] = []

    def choose(path: Any, leaf: Any) -> Any:
        found = loaded.get(jax.tree_util.keystr(path))
        if found is not None and found.shape == leaf.shape:
            return found
        left.append(jax.tree_util.keystr(path, simple=True, separator="."))
        return leaf

    return {"params": jax.tree_util.tree_map_with_path(choose, start)}, left


def check_same_network(given: Any, wanted: Any, section: str, source: str, strict: bool = True) -> None:
    """Check that a file holds the network that is to be trained; unless strict, one of its type is enough.

    Raises:
      ConfigError: it is another one; names each field that differs and both values.
    """
    if architecture_name(given) != architecture_name(wanted):
        theirs, ours = {"type": architecture_name(given)}, {"type": architecture_name(wanted)}
    elif not strict:
        return
    else:
        theirs, ours = architecture_fields(given), architecture_fields(wanted)
    different = [name for name in theirs if theirs[name] != ours[name]]
    if not different:
        return
    shown = [name for name in different if name in CHANNELS] or different
    first = f"{shown[0]} is {theirs[shown[0]]} in {source} and {ours[shown[0]]} in the configuration"
    values = ", ".join([first, *(f"{name} {theirs[name]} and {ours[name]}" for name in shown[1:])])
    if shown[0] in CHANNELS:
        raise ConfigError(
            f"{values}: training is for RGB pictures, so give a file of a network with 3 channels."
        )
    fields = " and ".join(FIELDS.get(name, f"{section}.{name}") for name in different)
    raise ConfigError(f"{values}: set {fields} to the file's values, or give another file.")
