"""Recipes: everything one iteration of a stage needs, as data; from a configuration, or made by hand."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp

from esrgan_jax.degradation import DegradationOptions, make_prepare
from esrgan_jax.degradation.usm import add_sharpened
from esrgan_jax.errors import ConfigError
from esrgan_jax.models.network import Discriminator, Generator, initial_variables
from esrgan_jax.system import parallel
from esrgan_jax.training.losses import GANLoss, Perceptual
from esrgan_jax.training.optimizers import Optimizer, cosine_restart_schedule, multistep_schedule
from esrgan_jax.training.state import create_discriminator_state, create_generator_state
from esrgan_jax.training.steps import (
    DEFAULT_GAN_LOSS,
    Batch,
    Devices,
    Metrics,
    Prepare,
    generator_updates,
    make_discriminator_step,
    make_generator_step,
    make_pixel_step,
    make_prepare_step,
)
from esrgan_jax.weights.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from ml_collections import ConfigDict

States = dict[str, Any]
Iterate = Callable[[States, Batch, int], tuple[States, Metrics]]
"""One iteration, counted from 1: (states, batch, iteration) -> (states, metrics); the states are donated."""


@dataclasses.dataclass(frozen=True)
class PixelRecipe:
    """The PSNR stage: the generator alone, compared pixel by pixel.

    Attributes:
      generator: what is trained.
      optimizer_g: its optimizer.
      pixel_weight: of the pixel loss.
      pixel_type: which one, of `losses.PIXEL_LOSSES`.
      tv_weight: of the total variation of sr; 0 leaves it out.
      ema_decay: of the generator's moving average.
      accumulate: micro-batches per batch.
      pixel_target: name of the pictures in the batch that sr is compared with.
      prepare: what is done to each batch on the devices first, see `steps.Prepare`.
    """

    generator: Generator
    optimizer_g: Optimizer
    pixel_weight: float = 1.0
    pixel_type: str = "l1"
    tv_weight: float = 0.0
    ema_decay: float = 0.999
    accumulate: int = 1
    pixel_target: str = "hr"
    prepare: Prepare | None = None
    name: ClassVar[str] = "psnr"

    @property
    def modules(self) -> dict[str, Any]:
        """The networks, by their names in the states."""
        return {"g": self.generator}

    def initial_states(self, seed: int, params: Any = None, ema: Any = None) -> States:
        """Return {"g"} at iteration 0 with a fresh optimizer; works under `jax.eval_shape` too.

        Args:
          seed: of random parameters, where `params` is None.
          params: linen parameters to start from.
          ema: their moving average; None: the parameters themselves.
        """
        if params is None:
            params = initial_variables(self.generator, seed)["params"]
        return {"g": create_generator_state(params, self.optimizer_g.transformation(), ema)}

    def build(self, devices: Devices = None, seed: int = 0) -> Iterate:
        """Return the iteration, mapped over the devices (None: all); `seed` is that of `prepare`'s random numbers."""
        step = make_pixel_step(
            self.generator,
            self.optimizer_g.transformation(),
            **_given(
                self, "pixel_weight", "pixel_type", "tv_weight", "ema_decay", "accumulate", "pixel_target"
            ),
            devices=devices,
        )

        def iterate(states: States, batch: Batch, iteration: int) -> tuple[States, Metrics]:
            g, metrics = step(states["g"], batch)
            return {"g": g}, metrics

        return _after_preparation(self.prepare, iterate, seed, devices)

    def rates(self, iteration: int) -> dict[str, float]:
        """Return the learning rates of an iteration, by their names in the log."""
        return {"lr": float(self.optimizer_g.schedule(iteration - 1))}


@dataclasses.dataclass(frozen=True)
class GanRecipe:
    """The GAN stage: generator, then discriminator, in the official trainer's order.

    Attributes:
      generator, discriminator: what is trained.
      optimizer_g, optimizer_d: their optimizers.
      pixel_weight: of the pixel loss; 0 leaves it out.
      pixel_type, tv_weight: see `PixelRecipe`.
      perceptual: the perceptual loss with its weights; None leaves it out.
      gan_loss: which adversarial loss.
      gan_weight: of the generator's term.
      ema_decay: of the generator's moving average.
      net_d_iters, net_d_init_iters: G is updated every `net_d_iters`-th iteration after `net_d_init_iters`.
      sync: means and batch statistics over all devices; False: each device's own.
      pixel_target, perceptual_target, gan_target: names of the pictures in the batch that the losses compare with.
      prepare: what is done to each batch on the devices first, see `steps.Prepare`.
    """

    generator: Generator
    discriminator: Discriminator
    optimizer_g: Optimizer
    optimizer_d: Optimizer
    pixel_weight: float = 1e-2
    pixel_type: str = "l1"
    tv_weight: float = 0.0
    perceptual: Perceptual | None = None
    gan_loss: GANLoss = DEFAULT_GAN_LOSS
    gan_weight: float = 5e-3
    ema_decay: float = 0.999
    net_d_iters: int = 1
    net_d_init_iters: int = 0
    sync: bool = True
    pixel_target: str = "hr"
    perceptual_target: str = "hr"
    gan_target: str = "hr"
    prepare: Prepare | None = None
    name: ClassVar[str] = "gan"

    @property
    def modules(self) -> dict[str, Any]:
        """The networks, by their names in the states."""
        return {"g": self.generator, "d": self.discriminator}

    def initial_states(
        self, seed: int, params: Any = None, ema: Any = None, d_variables: Any = None
    ) -> States:
        """Return {"g", "d"} at iteration 0 with fresh optimizers; works under `jax.eval_shape` too.

        Args:
          seed: of what is random.
          params, ema: see `PixelRecipe.initial_states`.
          d_variables: all variables of the discriminator; None: random.
        """
        if params is None:
            params = initial_variables(self.generator, seed)["params"]
        if d_variables is None:
            d_variables = initial_variables(self.discriminator, seed)
        return {
            "g": create_generator_state(params, self.optimizer_g.transformation(), ema),
            "d": create_discriminator_state(d_variables, self.optimizer_d.transformation()),
        }

    def build(self, devices: Devices = None, seed: int = 0) -> Iterate:
        """Return the iteration, see `PixelRecipe.build`.

        Raises:
          ValueError: the discriminator lacks its `axis_name`, see `steps.check_axis_name`.
        """
        common = _given(self, "gan_loss", "sync", "gan_target") | {"devices": devices}
        make_step = functools.partial(
            make_generator_step,
            self.generator,
            self.discriminator,
            self.optimizer_g.transformation(),
            **_given(
                self, "pixel_weight", "pixel_type", "tv_weight", "perceptual", "gan_weight", "ema_decay"
            ),
            **_given(self, "pixel_target", "perceptual_target"),
            **common,
        )
        generator_step, generator_step_without_update = make_step(update=True), make_step(update=False)
        discriminator_step = make_discriminator_step(
            self.discriminator,
            self.optimizer_d.transformation(),
            **_given(self, "net_d_iters", "net_d_init_iters"),
            **common,
        )

        def iterate(states: States, batch: Batch, iteration: int) -> tuple[States, Metrics]:
            updates = generator_updates(iteration, self.net_d_iters, self.net_d_init_iters)
            step = generator_step if updates else generator_step_without_update
            g, sr, g_metrics = step(states["g"], states["d"], batch)
            d, d_metrics = discriminator_step(states["d"], sr, batch)
            return {"g": g, "d": d}, g_metrics | d_metrics

        return _after_preparation(self.prepare, iterate, seed, devices)

    def rates(self, iteration: int) -> dict[str, float]:
        """Return the learning rates of an iteration, by their names in the log."""
        optimizers = {"lr_g": self.optimizer_g, "lr_d": self.optimizer_d}
        return {name: float(optimizer.schedule(iteration - 1)) for name, optimizer in optimizers.items()}


Recipe = PixelRecipe | GanRecipe


def _given(recipe: Recipe, *names: str) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in names}


def _after_preparation(prepare: Prepare | None, iterate: Iterate, seed: int, devices: Devices) -> Iterate:
    if prepare is None:
        return iterate
    step = make_prepare_step(prepare, seed, devices)
    return lambda states, batch, iteration: iterate(states, step(batch), iteration)


def recipe_from_config(config: ConfigDict, stage: str) -> Recipe:
    """Return the recipe of a stage, "psnr" or "gan"; reads the weights of the perceptual loss.

    Raises:
      ConfigError: a network's type or fields are unknown, or fields of the degradation cannot be used.
      WeightFileError: the perceptual loss's weights cannot be read.
    """
    fields = config[stage]
    same = ("pixel_weight", "pixel_type", "tv_weight", "ema_decay")
    common: dict[str, Any] = {name: fields[name] for name in same}
    common["prepare"] = _prepare(config, stage)
    generator = generator_from_config(config)
    optimizer_g = _optimizer(fields.optim_g, fields.scheduler)
    if stage == PixelRecipe.name:
        target = _target(fields.gt_usm)
        return PixelRecipe(
            generator, optimizer_g, accumulate=fields.accumulate, pixel_target=target, **common
        )
    return GanRecipe(
        generator,
        discriminator_from_config(config),
        optimizer_g,
        _optimizer(fields.optim_d, fields.scheduler),
        perceptual=_perceptual(config.perceptual),
        gan_loss=GANLoss(fields.gan_type, fields.relativistic, fields.detach_means),
        gan_weight=fields.gan_weight,
        net_d_iters=fields.net_d_iters,
        net_d_init_iters=fields.net_d_init_iters,
        sync=fields.sync,
        pixel_target=_target(fields.l1_gt_usm),
        perceptual_target=_target(fields.percep_gt_usm),
        gan_target=_target(fields.gan_gt_usm),
        **common,
    )


def _prepare(config: Mapping[str, Any], stage: str) -> Prepare | None:
    """What is done to each batch: it is degraded, or targets are sharpened, or nothing."""
    options = degradation_from_config(config, stage)
    if options is not None:
        return make_prepare(options)
    return add_sharpened if sharpens(config[stage]) else None


def degradation_from_config(config: Mapping[str, Any], stage: str) -> DegradationOptions | None:
    """Return what may be drawn for LR pictures of a stage; None: they are read.

    Raises:
      ConfigError: a field cannot be used.
    """
    fields = dict(config["degradation"])
    if not fields.pop("high_order_degradation"):
        return None
    del fields["crop_pad_size"]
    cut = {"scale": config["scale"], "gt_size": config[stage]["gt_size"]}
    # RealESRNet cuts its target from the sharpened picture, RealESRGAN sharpens what it has cut.
    return DegradationOptions(**cut, usm_before_crop=stage == PixelRecipe.name, **fields)


def sharpens(stage: Mapping[str, Any]) -> bool:
    """Whether a target of a stage is the sharpened picture."""
    return any(stage.get(flag) for flag in ("gt_usm", "l1_gt_usm", "percep_gt_usm", "gan_gt_usm"))


def patch_from_config(config: Mapping[str, Any], stage: str) -> dict[str, int]:
    """Return {"scale", "gt_size"} of patches as they are read: HR alone and before the crop if they are degraded."""
    degradation = config["degradation"]
    if degradation["high_order_degradation"]:
        return {"scale": 1, "gt_size": degradation["crop_pad_size"]}
    return {"scale": config["scale"], "gt_size": config[stage]["gt_size"]}


def _target(sharpened: bool) -> str:
    return "hr_usm" if sharpened else "hr"


def generator_from_config(config: Mapping[str, Any]) -> Generator:
    """Return the generator that `network_g` describes."""
    return _network(config, "network_g", "generator", scale=config["scale"])


def discriminator_from_config(config: Mapping[str, Any]) -> Discriminator:
    """Return the discriminator that `network_d` describes, for patches of gan.gt_size."""
    stage = config["gan"]
    derived = {"input_size": stage["gt_size"], "axis_name": parallel.AXIS if stage["sync"] else None}
    return _network(config, "network_d", "discriminator", **derived)


def _network(config: Mapping[str, Any], name: str, role: str, **derived: Any) -> Any:
    """The module of a type with its fields, and those of `derived` that it has."""
    fields = dict(config[name])
    kind = fields.pop("type")
    known = {entry.name: entry for entry in ARCHITECTURES.values() if entry.role == role}
    if kind not in known:
        raise ConfigError(f"{name}.type (={kind}) must be one of {', '.join(known)}.")
    module = known[kind].module
    accepted = {field.name for field in dataclasses.fields(module)}
    # Where a type is chosen on the command line, fields of the one that stood there are still present.
    others = {field.name for entry in known.values() for field in dataclasses.fields(entry.module)}
    unknown = sorted(set(fields) - accepted - others)
    if unknown:
        own = sorted(accepted - {"parent", "name", "dtype", "param_dtype", *derived})
        raise ConfigError(f"{name}.{unknown[0]} is no field of {kind}, which has {', '.join(own)}.")
    derived["dtype"] = None if config["dtype"] is None else jnp.dtype(config["dtype"])
    return module(**{key: value for key, value in (fields | derived).items() if key in accepted})


def _optimizer(optim: ConfigDict, scheduler: ConfigDict) -> Optimizer:
    schedule: Any = multistep_schedule(optim.lr, scheduler.milestones, scheduler.gamma)
    if scheduler.type == "cosine_restart":
        schedule = cosine_restart_schedule(
            optim.lr, scheduler.periods, scheduler.restart_weights, scheduler.eta_min
        )
    return Optimizer(schedule, tuple(optim.betas), optim.weight_decay, optim.max_grad_norm)


def _perceptual(fields: ConfigDict) -> Perceptual | None:
    if not (fields.perceptual_weight or fields.style_weight):
        return None
    from esrgan_jax.weights.load import load_vgg  # made by hand, a recipe needs no files

    module, variables = load_vgg(
        fields.weights, fields.vgg_type, tuple(fields.layer_weights), fields.use_input_norm, fields.range_norm
    )
    return Perceptual(
        module,
        variables,
        fields.layer_weights.to_dict(),
        fields.perceptual_weight,
        fields.style_weight,
        fields.criterion,
    )
