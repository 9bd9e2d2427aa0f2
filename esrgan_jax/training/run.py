"""A run: what all of its stages share, opened from a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from esrgan_jax.data.pairs import PairSource
from esrgan_jax.data.sources import check_patch_sizes, describe_skipped, open_pairs
from esrgan_jax.errors import ConfigError
from esrgan_jax.evaluation.scores import SCORES, evaluate_bicubic
from esrgan_jax.inference import Upscaler
from esrgan_jax.models import RRDBNet
from esrgan_jax.runs.folder import iterations, newest_stage, read_config, write_config
from esrgan_jax.system import processes
from esrgan_jax.system.progress import Console
from esrgan_jax.training import configuration
from esrgan_jax.training.presets import changed_from_preset
from esrgan_jax.training.steps import Perceptual
from esrgan_jax.training.stopping import StopSignals
from esrgan_jax.training.writer import Writer
from esrgan_jax.weights.load import load_vgg


@dataclass
class Run:
    """What all stages of a run share."""

    config: ConfigDict
    folder: Path
    console: Console
    writer: Writer
    signals: StopSignals
    devices: list[jax.Device]  # of this process; the others use as many of theirs
    writes: bool  # this process, the first one, reads checkpoints and writes everything
    agreement: processes.Agreement
    train: PairSource
    validation: PairSource
    skipped: dict[str, str] | None  # name and reason of bad images so far; None: a bad image is an error
    bicubic: dict[str, float]
    perceptual: Perceptual | None
    generator: RRDBNet
    upscaler: Upscaler  # of the generator, for evaluations; one for all of them, because it compiles
    unsaved: str | None = None  # why the newest states, or their export, could not be written
    skips_told: int = 0  # how many of `skipped` the log has told of


def open_run(
    config: ConfigDict,
    folder: Path,
    devices: list[jax.Device],
    console: Console,
    writer: Writer,
    signals: StopSignals,
) -> Run:
    """Opens the data, loads what is given, and says what it found."""
    kind, count = devices[0].platform.upper(), jax.process_count()
    console.say(
        f"run       {config.name} in {folder}, {len(devices)} {kind} device{'s' * (len(devices) > 1)}"
        + f" in each of {count} processes" * (count > 1)
    )
    changed = changed_from_preset(config.preset, configuration.flatten(config.to_dict()))
    console.say(f"preset    {config.preset}" + (f" except {', '.join(changed)}" if changed else ""))
    for name in config.stages:
        scheduler = config[name].scheduler
        if scheduler.type == "cosine_restart" and sum(scheduler.periods) < config[name].steps:
            console.say(
                f"note      {name}.scheduler.periods end after {sum(scheduler.periods)} iterations; the rest of "
                f"{name}.steps runs at eta_min"
            )
    with console.phase("data", f"{config.data.train}, validation {config.data.validation}"):
        skipped: dict[str, str] | None = {} if config.data.on_bad_image == "skip" else None
        train, validation = _open_sources(config, skipped)
        writes = processes.is_first()
        bicubic = evaluate_bicubic(validation, config.scale) if writes else dict.fromkeys(SCORES, 0.0)
    console.say(
        f"          {len(train)} images to train on, {len(validation)} held out "
        f"(bicubic {bicubic['psnr_y']:.2f} dB on Y)"
    )
    if skipped:
        console.say(f"note      {describe_skipped(skipped)}")
    generator = RRDBNet(config.scale, **config.network_g, dtype=_dtype(config))
    return Run(
        config=config,
        folder=folder,
        console=console,
        writer=writer,
        signals=signals,
        devices=devices,
        writes=writes,
        agreement=processes.Agreement(devices),
        train=train,
        validation=validation,
        skipped=skipped,
        bicubic=bicubic,
        perceptual=_load_perceptual(config, console),
        generator=generator,
        upscaler=Upscaler(generator, None, dtype=generator.dtype or jnp.float32, devices=devices),
    )


def claim_run_folder(config: ConfigDict, folder: Path) -> list[str]:
    """Makes the workdir this configuration's own, or finds that it is; returns fields that changed, as notes.

    Only checkpoints bind a folder: a first attempt that stopped on a mistake, with the configuration that had
    it, leaves none.

    Raises:
      ConfigError: it holds checkpoints of another configuration, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        newest = newest_stage(folder)
        before = read_config(folder) if newest else None
        changed, notes = configuration.changed_fields(before or {}, config.to_dict())
        if changed and config.resume != "force":
            raise ConfigError(
                f"{folder} holds a run of another configuration, {'; '.join(changed)}: give back the old values, "
                "choose another --workdir, or go on with other numbers by --config.resume=force."
            )
        write_config(folder, config.to_dict())
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): choose another --workdir."
        ) from None
    notes = [f"changed since the last start: {field}" for field in changed + notes]
    saved = iterations(folder, "psnr")
    if newest == "gan" and "psnr" in config.stages and saved and saved[-1] < config.psnr.steps:
        notes.append(
            f"psnr.steps (={config.psnr.steps}) is ignored: the GAN stage began after {saved[-1]} iterations"
        )
    return notes


def _open_sources(config: ConfigDict, skipped: dict[str, str] | None) -> tuple[PairSource, PairSource]:
    data = config.data
    train = open_pairs(
        data.train,
        split="train",
        scale=config.scale,
        lr=data.train_lr,
        lr_template=data.lr_template,
        weights=data.train_weights,
        data_dir=data.data_dir,
        skipped=skipped,
    )
    for stage in config.stages:
        check_patch_sizes(train, config[stage].gt_size, skipped)
    validation = open_pairs(
        data.validation,
        split="validation",
        scale=config.scale,
        lr=data.validation_lr,
        lr_template=data.lr_template,
        data_dir=data.data_dir,
    )
    return train, validation


def _load_perceptual(config: ConfigDict, console: Console) -> Perceptual | None:
    fields = config.perceptual
    if "gan" not in config.stages:
        return None
    if not (fields.perceptual_weight or fields.style_weight):
        console.say("note      no perceptual loss: the GAN stage trains on L1 and the discriminator alone")
        return None
    with console.phase("weights", f"{fields.vgg_type} from {fields.weights}"):
        module, variables = load_vgg(
            fields.weights,
            fields.vgg_type,
            tuple(fields.layer_weights),
            fields.use_input_norm,
            fields.range_norm,
        )
    return Perceptual(
        module, variables, fields.layer_weights.to_dict(), fields.perceptual_weight, fields.style_weight
    )


def _dtype(config: ConfigDict) -> Any:
    return None if config.dtype is None else jnp.dtype(config.dtype)
