"""A run: what its stages share, opened from a configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from esrgan_jax.data.overlap import check_overlap
from esrgan_jax.data.pairs import PairSource
from esrgan_jax.data.sources import check_patch_sizes, describe_skipped, open_pairs
from esrgan_jax.errors import DataError
from esrgan_jax.evaluation.scores import evaluate_bicubic
from esrgan_jax.imaging.kinds import describe_left_out
from esrgan_jax.inference import Upscaler
from esrgan_jax.metrics import METRICS
from esrgan_jax.runs import STAGES
from esrgan_jax.runs.lock import RunLock
from esrgan_jax.system import processes
from esrgan_jax.system.console import Console
from esrgan_jax.training import configuration
from esrgan_jax.training.claim import claim_pictures
from esrgan_jax.training.presets import changed_from_preset
from esrgan_jax.training.recipe import Recipe, patch_from_config, recipe_from_config
from esrgan_jax.training.stopping import StopSignals
from esrgan_jax.training.writer import Writer


@dataclass(frozen=True)
class Options:
    """Fields of the configuration that belong to no stage; configs/base.py explains them."""

    scale: int
    seed: int
    init_from: str | None
    param_key_g: str | None
    init_from_d: str | None
    strict_load_g: bool
    log_every: int
    evaluate_every: int
    checkpoint_every: int
    max_skipped: int
    max_to_keep: int
    keep_every: int
    keep_best: str


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
      recipe: what is iterated.
      steps: iterations.
      batch_size: pairs per iteration, over all devices and processes.
      patches: what its training patches depend on: arguments of `data.pipeline.make_train_iterator`.
      hr_only: LR is not read but made of HR on the devices.
    """

    recipe: Recipe
    steps: int
    batch_size: int
    patches: dict[str, Any]
    hr_only: bool

    @property
    def name(self) -> str:
        """Return "psnr" or "gan"."""
        return self.recipe.name


@dataclass(frozen=True)
class RunData:
    """The pictures of a run.

    Attributes:
      train, validation: the pairs.
      num_threads: that read and decode; None: chosen by cores.
      skipped: name and reason of bad images so far, filled by the threads that read; None: such an image is an error.
      bicubic: the scores of bicubic interpolation on `validation`.
    """

    train: PairSource
    validation: PairSource
    num_threads: int | None
    skipped: dict[str, str] | None
    bicubic: dict[str, float]


@dataclass(frozen=True)
class Run:
    """What the stages of a run share.

    Attributes:
      folder: the workdir.
      lock: on the workdir; None in the processes that write nothing.
      record: the configuration as nested dicts, which goes into checkpoints.
      options, stages, data: see there.
      upscaler: of the generator, for evaluations: one for all of them, because it compiles.
      devices: of this process; the others use as many of theirs.
      agreement: on what all processes must do alike.
      console, writer, signals: what is said, what is written, what stops the run.
    """

    folder: Path
    lock: RunLock | None
    record: dict[str, Any]
    options: Options
    stages: tuple[Stage, ...]
    data: RunData
    upscaler: Upscaler
    devices: list[jax.Device]
    agreement: processes.Agreement
    console: Console
    writer: Writer
    signals: StopSignals

    @property
    def writes(self) -> bool:
        """Whether this process, the first one, reads checkpoints and writes everything."""
        return processes.is_first()


def open_run(
    config: ConfigDict,
    folder: Path,
    lock: RunLock | None,
    devices: list[jax.Device],
    console: Console,
    signals: StopSignals,
) -> Run:
    """Open the data, load what is given, and say what was found."""
    kind, count = devices[0].platform.upper(), jax.process_count()
    console.say(
        f"run       {config.name} in {folder}, {len(devices)} {kind} device{'s' * (len(devices) > 1)}"
        + f" in each of {count} processes" * (count > 1)
    )
    record = config.to_dict()
    changed = changed_from_preset(config.preset, configuration.flatten(record))
    console.say(f"preset    {config.preset}" + (f" except {', '.join(changed)}" if changed else ""))
    for name in config.stages:
        scheduler = config[name].scheduler
        if scheduler.type == "cosine_restart" and sum(scheduler.periods) < config[name].steps:
            console.say(
                f"note      {name}.scheduler.periods end after {sum(scheduler.periods)} iterations; the rest of "
                f"{name}.steps runs at eta_min"
            )
    data = _open_data(config, folder, console)
    stages = tuple(_open_stage(config, name, console) for name in config.stages)
    generator = stages[0].recipe.generator
    return Run(
        folder=folder,
        lock=lock,
        record=record,
        options=Options(**{field.name: config[field.name] for field in fields(Options)}),
        stages=stages,
        data=data,
        upscaler=Upscaler(generator, None, dtype=generator.dtype or jnp.float32, devices=devices),
        devices=devices,
        agreement=processes.Agreement(devices),
        console=console,
        writer=Writer(folder, STAGES),
        signals=signals,
    )


def _open_data(config: ConfigDict, folder: Path, console: Console) -> RunData:
    data, scale = config.data, config.scale
    common = {
        "lr_template": data.lr_template,
        "data_dir": data.data_dir,
        "held_out": data.held_out,
    }
    skipped: dict[str, str] | None = {} if data.on_bad_image == "skip" else None
    with console.phase("data", f"{data.train}, validation {data.validation}"):
        with _errors_of("data.train", data.train_lr):
            train = open_pairs(
                data.train,
                split="train",
                scale=patch_from_config(config, config.stages[0])["scale"],
                lr=data.train_lr,
                weights=data.train_weights,
                skipped=skipped,
                **common,
            )
            for stage in config.stages:
                check_patch_sizes(train, patch_from_config(config, stage)["gt_size"], skipped)
        with _errors_of("data.validation", data.validation_lr):
            validation = open_pairs(
                data.validation, split="validation", scale=scale, lr=data.validation_lr, **common
            )
        check_overlap(train, validation)
        notes = processes.first_does(lambda: claim_pictures(config.to_dict(), folder, train, validation))
        first = processes.is_first()
        bicubic = evaluate_bicubic(validation, scale) if first else dict.fromkeys(METRICS, 0.0)
    scores = ", ".join(f"{m.title} {m.text(bicubic[key])}" for key, m in METRICS.items() if m.headline)
    console.say(f"          {len(train)} images to train on, {len(validation)} held out (bicubic: {scores})")
    for note in notes or ():
        console.say(f"note      {note}")
    if skipped:
        console.say(f"note      {describe_skipped(skipped)}")
    if others := list(dict.fromkeys([*getattr(train, "others", ()), *getattr(validation, "others", ())])):
        console.say(f"note      {describe_left_out(others)}")
    return RunData(train, validation, data.num_threads, skipped, bicubic)


@contextlib.contextmanager
def _errors_of(field: str, lr: str | None) -> Iterator[None]:
    """Name the field, or both of them, in errors of its data."""
    try:
        yield
    except DataError as error:
        fields = field if lr is None else f"{field} with {field}_lr"
        raise DataError(f"{fields}: {error}") from None


def _open_stage(config: ConfigDict, name: str, console: Console) -> Stage:
    perceptual = config.perceptual
    if name == "psnr":
        recipe = recipe_from_config(config, name)
    elif perceptual.perceptual_weight or perceptual.style_weight:
        with console.phase("weights", f"{perceptual.vgg_type} from {perceptual.weights}"):
            recipe = recipe_from_config(config, name)
    else:
        console.say("note      no perceptual loss: the GAN stage trains on L1 and the discriminator alone")
        recipe = recipe_from_config(config, name)
    patches = {
        **patch_from_config(config, name),
        "seed": config.seed + STAGES.index(name),  # each stage sees patches of its own
        "use_hflip": config.data.use_hflip,
        "use_rot": config.data.use_rot,
    }
    hr_only = config.degradation.high_order_degradation
    return Stage(recipe, config[name].steps, config[name].batch_size, patches, hr_only)
