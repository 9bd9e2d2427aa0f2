"""Whether a configuration can be run, and whether it belongs to a run folder."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from esrgan_jax.data.sources import split_specs
from esrgan_jax.data.split import PREFIX as SPLIT_PREFIX
from esrgan_jax.degradation.degrade import check_sizes
from esrgan_jax.degradation.usm import RADIUS
from esrgan_jax.errors import ConfigError
from esrgan_jax.metrics import METRICS
from esrgan_jax.models.vgg_features import layer_names
from esrgan_jax.runs import STAGES
from esrgan_jax.training.losses import CRITERIA, GAN_TYPES, PIXEL_LOSSES
from esrgan_jax.training.presets import PRESETS
from esrgan_jax.training.recipe import (
    degradation_from_config,
    discriminator_from_config,
    generator_from_config,
    patch_from_config,
    sharpens,
)

SCHEDULERS = ("cosine_restart", "multistep")
ON_BAD_IMAGE = ("error", "skip")
DTYPES = (None, "float32", "bfloat16")

VGG19_ADDRESS = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"

FREE_TO_CHANGE = (
    "name",
    "stages",
    "init_from",
    "init_from_d",
    "strict_load_g",
    "param_key_g",
    "num_devices",
    "network_g.remat",
    "data.validation",
    "data.validation_lr",
    "data.data_dir",
    "data.num_threads",
    "data.lr_template",
    "data.on_bad_image",
    "psnr.steps",
    "gan.steps",
    "perceptual.weights",
    "log_every",
    "evaluate_every",
    "checkpoint_every",
    "max_to_keep",
    "keep_every",
    "keep_best",
    "max_skipped",
)
"""Fields that may differ when a run goes on: intervals, lengths, paths, and what only the machine cares about."""

PER_LAUNCH = (
    "resume",
    "distributed.coordinator_address",
    "distributed.num_processes",
    "distributed.process_id",
)
"""Fields that belong to one start of the command and are not compared."""


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested fields as {"psnr.optim_g.lr": value}; tuples become lists, as in JSON."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            fields |= flatten(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = list(value) if isinstance(value, tuple) else value
    return fields


def changed_fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what differs between a run's configuration and the one it is to go on with.

    A field that `old` does not have yet counts as what it is in `new`.

    Returns:
      Fields that change the run's numbers, and other ones, each as "field (was a, is b)".
    """
    before, after = (flatten(config) for config in (old, new))
    kinds: list[list[str]] = [[], []]
    for name in sorted(before | after):
        was, now = before.get(name, after.get(name)), after.get(name)
        if was == now or name in PER_LAUNCH:
            continue
        harmless = name in FREE_TO_CHANGE or (
            name in ("data.train", "data.train_lr") and _source_kinds(was) == _source_kinds(now)
        )
        kinds[harmless].append(f"{name} (was {was}, is {now})")
    return kinds[False], kinds[True]


def _source_kinds(train: Any) -> Any:
    """A folder may have moved; another kind of source, or another TFDS set, is another run."""
    if train is None:
        return None

    def kind(one: str) -> str:
        if one in ("", "sample") or one.startswith("tfds:"):
            return one
        return f"{SPLIT_PREFIX if one.startswith(SPLIT_PREFIX) else ''}a folder"

    return ", ".join(map(kind, split_specs(train)))


def check(config: Mapping[str, Any], device_count: int) -> None:
    """Check everything that can be checked before any work is done.

    Args:
      config: nested fields as in configs/base.py.
      device_count: devices the run will use, those of all processes.

    Raises:
      ConfigError: names the field, its value, and what it may be.
    """
    _check_empty(config)
    _choice("dtype", config["dtype"], DTYPES)
    _choice("preset", config["preset"], tuple(PRESETS))
    _choice("data.on_bad_image", config["data"]["on_bad_image"], ON_BAD_IMAGE)
    stages = list(config["stages"])
    if not stages or stages != [stage for stage in STAGES if stage in stages]:
        raise ConfigError(f"stages (={tuple(stages)}) must be ('psnr', 'gan') or one of the two.")
    _at_least("seed", config["seed"], 0)
    _at_least("max_to_keep", config["max_to_keep"], 1)
    _choice("keep_best", config["keep_best"], ("none", *METRICS))
    _choice("resume", config["resume"], (None, "force"))
    for name in ("log_every", "evaluate_every", "checkpoint_every", "keep_every", "max_skipped"):
        _at_least(name, config[name], 0)
    generator = generator_from_config(config)
    _check_fields("network_g", generator)
    for stage in stages:
        _check_stage(stage, config[stage], generator.scale * generator.unshuffle, device_count)
        _check_preparation(config, stage)
    if "gan" in stages:
        _check_gan(config)


def _check_empty(config: Mapping[str, Any]) -> None:
    """Let no field be an empty text, and no source an empty place in a list: it would be the working directory."""
    for name, value in flatten(config).items():
        if isinstance(value, str) and not value.strip():
            raise ConfigError(f"{name} is empty: give it a value, or leave it out.")
    for name in ("train", "validation"):
        for source in split_specs(config["data"][name]):
            if not source.removeprefix(SPLIT_PREFIX).removeprefix("tfds:").strip():
                raise ConfigError(
                    f"data.{name} (={config['data'][name]}) names a source that is empty: give it a name, or take "
                    "out the comma."
                )


def _check_fields(section: str, module: Any) -> None:
    """Ask a network for its shapes: it knows which values its fields may have."""
    try:
        jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(module.example_shape)))
    except ValueError as error:
        fields = {"scale": "scale", "input_size": "gan.gt_size"}
        named = re.sub(r"^`(\w+)`", lambda match: fields.get(match[1], f"{section}.{match[1]}"), str(error))
        raise ConfigError(named) from None


def _check_preparation(config: Mapping[str, Any], stage: str) -> None:
    """Check that the patches of a stage can be degraded, or sharpened."""
    if config["degradation"]["high_order_degradation"] and config["data"]["train_lr"] is not None:
        raise ConfigError(
            f"data.train_lr (={config['data']['train_lr']}) is never read, because the LR pictures are made from "
            "data.train: leave it out, or set degradation.high_order_degradation to False."
        )
    names = {name: f"degradation.{name}" for name in config["degradation"]}
    names["gt_size"] = f"{stage}.gt_size"
    side = patch_from_config(config, stage)["gt_size"]
    try:
        options = degradation_from_config(config, stage)
        if options is not None:
            check_sizes((side, side), options)
    except ConfigError as error:
        named = re.sub(r"`(\w+)`", lambda match: names.get(match[1], match[1]), str(error))
        picture = f" The picture's side is degradation.crop_pad_size (={side})." * ("picture" in named)
        raise ConfigError(named + picture) from None
    if sharpens(config[stage]) and config[stage]["gt_size"] <= RADIUS // 2:
        raise ConfigError(
            f"{stage}.gt_size (={config[stage]['gt_size']}) must be more than {RADIUS // 2}, to be sharpened."
        )


def _check_stage(name: str, stage: Mapping[str, Any], multiple: int, device_count: int) -> None:
    _at_least(f"{name}.steps", stage["steps"], 1)
    _choice(f"{name}.pixel_type", stage["pixel_type"], tuple(PIXEL_LOSSES))
    if name == "psnr" and not (stage["pixel_weight"] or stage["tv_weight"]):
        raise ConfigError("psnr.pixel_weight (=0) must not be 0: the PSNR stage has no other loss.")
    _at_least(f"{name}.batch_size", stage["batch_size"], 1)
    if stage["batch_size"] % device_count:
        raise ConfigError(
            f"{name}.batch_size (={stage['batch_size']}) must be divisible by the number of devices "
            f"(={device_count}): change it, or choose fewer devices with --config.num_devices."
        )
    if name == "gan" and stage["accumulate"] != 1:
        raise ConfigError(
            f"gan.accumulate (={stage['accumulate']}) must be 1: batch norm and the relativistic means need the "
            "whole batch at once. Use more devices, or a smaller gan.batch_size."
        )
    _at_least(f"{name}.accumulate", stage["accumulate"], 1)
    if stage["batch_size"] % (device_count * stage["accumulate"]):
        raise ConfigError(
            f"{name}.batch_size (={stage['batch_size']}) must be divisible by {name}.accumulate "
            f"(={stage['accumulate']}) x the number of devices (={device_count})."
        )
    if stage["gt_size"] < multiple or stage["gt_size"] % multiple:
        raise ConfigError(f"{name}.gt_size (={stage['gt_size']}) must be a multiple of {multiple}.")
    if not 0 <= stage["ema_decay"] < 1:
        raise ConfigError(f"{name}.ema_decay (={stage['ema_decay']}) must be at least 0 and below 1.")
    for optimizer in ("optim_g", "optim_d"):
        betas = stage.get(optimizer, {}).get("betas", (0, 0))
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(
                f"{name}.{optimizer}.betas (={tuple(betas)}) must be two numbers, at least 0 and below 1."
            )
        # Adam moves no weight by much more than this at a time: so weights stay finite as long as losses are.
        lr = stage.get(optimizer, {}).get("lr", 0)
        if not 0 <= lr <= 1:
            raise ConfigError(f"{name}.{optimizer}.lr (={lr}) must be 0 to 1.")
        max_grad_norm = stage.get(optimizer, {}).get("max_grad_norm")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ConfigError(
                f"{name}.{optimizer}.max_grad_norm (={max_grad_norm}) must be larger than 0, or None."
            )
    _choice(f"{name}.scheduler.type", stage["scheduler"]["type"], SCHEDULERS)
    if stage["scheduler"]["type"] == "cosine_restart":
        _check_periods(name, stage["scheduler"])


def _check_periods(name: str, scheduler: Mapping[str, Any]) -> None:
    periods, weights = scheduler["periods"], scheduler["restart_weights"]
    if not periods or len(periods) != len(weights) or min(periods) < 1:
        raise ConfigError(
            f"{name}.scheduler.periods (={tuple(periods)}) must be numbers of iterations, as many as "
            f"{name}.scheduler.restart_weights (={tuple(weights)})."
        )


def _check_gan(config: Mapping[str, Any]) -> None:
    discriminator = discriminator_from_config(config)
    _check_fields("network_d", discriminator)
    if discriminator.input_size not in (None, config["gan"]["gt_size"]):
        raise ConfigError(
            f"gan.gt_size (={config['gan']['gt_size']}) must be {discriminator.input_size}, the only size that "
            f"network_d.type={config['network_d']['type']} takes."
        )
    side = config["gan"]["gt_size"]
    pictures = jax.ShapeDtypeStruct((1, side, side, discriminator.num_in_ch), jnp.float32)
    try:
        jax.eval_shape(discriminator.init, jax.random.key(0), pictures)
    except ValueError as error:
        raise ConfigError(
            f"gan.gt_size (={side}) is no size for network_d.type={config['network_d']['type']}: {error}"
        ) from None
    _choice("gan.gan_type", config["gan"]["gan_type"], GAN_TYPES)
    _at_least("gan.net_d_iters", config["gan"]["net_d_iters"], 1)
    if config["stages"][0] == "gan" and config["init_from"] is None:
        raise ConfigError(
            "The GAN stage starts from the PSNR stage's network: run that stage first and give its workdir, or a "
            ".pth file, as --config.init_from=PATH, or start from random weights with --config.init_from=scratch."
        )
    perceptual = config["perceptual"]
    if not (perceptual["perceptual_weight"] or perceptual["style_weight"]):
        return
    _choice("perceptual.criterion", perceptual["criterion"], CRITERIA)
    _choice_of_layers(perceptual["vgg_type"], list(perceptual["layer_weights"]))
    if perceptual["weights"] is None:
        raise ConfigError(
            f"The perceptual loss needs {perceptual['vgg_type']} weights: fetch torchvision's (VGG19: "
            f"{VGG19_ADDRESS}, or let --config.perceptual.weights=vgg19 fetch it) and give "
            "--config.perceptual.weights=FILE, or turn the term off with --config.perceptual.perceptual_weight=0."
        )


def _choice_of_layers(vgg_type: str, layers: Sequence[str]) -> None:
    try:
        known = layer_names(vgg_type)
    except ValueError as error:
        raise ConfigError(f"perceptual.{error}") from None
    for layer in layers:
        _choice("perceptual.layer_weights", layer, tuple(known))


def _choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} (={value}) must be one of {', '.join(map(str, choices))}.")


def _at_least(name: str, value: Any, least: int) -> None:
    if value < least:
        raise ConfigError(f"{name} (={value}) must be {least} or larger.")
