"""From a configuration to what a stage is made of: data, steps, first states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from ml_collections import ConfigDict

from esrgan_jax.data.pipeline import LocatedPatch, locate_patches, make_train_iterator, state_at
from esrgan_jax.models import VGGStyleDiscriminator
from esrgan_jax.system import parallel
from esrgan_jax.training import configuration
from esrgan_jax.training.losses import GANLoss
from esrgan_jax.training.optimizers import Schedule, adam, cosine_restart_schedule, multistep_schedule
from esrgan_jax.training.run import Run
from esrgan_jax.training.stages import (
    GanRecipe,
    PixelRecipe,
    Stage,
    States,
    check_shapes,
    initial_discriminator,
    initial_generator,
)
from esrgan_jax.weights.load import load_discriminator_weights, load_generator_weights

if TYPE_CHECKING:
    from grain import DatasetIterator


def build_data(run: Run, name: str, patches: int) -> DatasetIterator:
    """The training batches of a stage that has used so many patches: this process's share of them."""
    iterator = make_train_iterator(
        run.train,
        **_patches(run, name),
        batch_size=run.config[name].batch_size,
        num_threads=run.config.data.num_threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    if patches:
        iterator.set_state(state_at(patches, jax.process_count()))
    return iterator


def locate_batch(run: Run, name: str, patches: int) -> list[LocatedPatch]:
    """Where the batch comes from that all processes together take after so many patches of a stage."""
    numbers = range(patches, patches + run.config[name].batch_size)
    return locate_patches(run.train, numbers, **_patches(run, name))


def _patches(run: Run, name: str) -> dict[str, Any]:
    """What the patches of a stage depend on."""
    return {
        "scale": run.config.scale,
        "gt_size": run.config[name].gt_size,
        "seed": run.config.seed + configuration.STAGES.index(name),  # each stage sees patches of its own
        "use_hflip": run.config.data.use_hflip,
        "use_rot": run.config.data.use_rot,
        "skipped": run.skipped,
    }


def build_stage(run: Run, name: str) -> tuple[Stage, dict[str, Schedule]]:
    """A stage and its learning rates, by the names they have in the log."""
    config = run.config[name]
    common = {
        "pixel_weight": config.pixel_weight,
        "ema_decay": config.ema_decay,
        "devices": parallel.devices_of_all_processes(run.devices),
    }
    optimizer_g, schedule_g = _build_optimizer(config.optim_g, config.scheduler)
    if name == "psnr":
        pixel_stage = PixelRecipe(run.generator, optimizer_g, accumulate=config.accumulate, **common)
        return pixel_stage, {"lr": schedule_g}
    optimizer_d, schedule_d = _build_optimizer(config.optim_d, config.scheduler)
    discriminator = VGGStyleDiscriminator(
        **run.config.network_d,
        input_size=config.gt_size,
        axis_name=parallel.AXIS if config.sync else None,
        dtype=run.generator.dtype,
    )
    stage = GanRecipe(
        run.generator,
        discriminator,
        optimizer_g,
        optimizer_d,
        perceptual=run.perceptual,
        gan_loss=GANLoss(config.gan_type, config.relativistic, config.detach_means),
        gan_weight=config.gan_weight,
        net_d_iters=config.net_d_iters,
        net_d_init_iters=config.net_d_init_iters,
        sync=config.sync,
        **common,
    )
    return stage, {"lr_g": schedule_g, "lr_d": schedule_d}


def _build_optimizer(optim: ConfigDict, scheduler: ConfigDict) -> tuple[Any, Schedule]:
    if scheduler.type == "cosine_restart":
        schedule = cosine_restart_schedule(
            optim.lr, scheduler.periods, scheduler.restart_weights, scheduler.eta_min
        )
    else:
        schedule = multistep_schedule(optim.lr, scheduler.milestones, scheduler.gamma)
    optimizer = adam(schedule, optim.betas, optim.weight_decay, max_grad_norm=optim.max_grad_norm)
    return optimizer, schedule


def initial_states(run: Run, stage: Stage, before: States | None) -> States:
    """States at iteration 0: from the stage before, from `init_from`, or random."""
    config, ema = run.config, None
    if before is not None:
        params, ema = before["g"].params, before["g"].ema
    elif config.init_from in (None, "scratch"):
        params = initial_generator(run.generator, config.seed)
    else:
        _, params, ema = load_generator_weights(config.init_from, config.param_key_g)
        check_shapes(
            "generator", jax.eval_shape(lambda: initial_generator(run.generator, 0)), params, config.init_from
        )
    if isinstance(stage, PixelRecipe):
        return stage.initial_states(config.seed, params, ema)
    d_variables = initial_discriminator(stage.discriminator, config.seed)
    if config.init_from_d is not None:
        _, given = load_discriminator_weights(config.init_from_d)
        check_shapes("discriminator", d_variables, given, config.init_from_d)
        d_variables = given
    return stage.initial_states(config.seed, params, ema, d_variables)


def shapes_of_states(run: Run, stage: Stage) -> States:
    """The states of a stage as shapes and dtypes alone; nothing is computed."""
    seed = run.config.seed
    return jax.eval_shape(lambda: stage.initial_states(seed, initial_generator(run.generator, seed)))
