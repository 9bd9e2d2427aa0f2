"""A folder of one's own photos -> the configuration that trains on it, and a plan that says what will happen."""

from __future__ import annotations

import math
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from esrgan_jax.data.pairs import size_text
from esrgan_jax.data.split import PREFIX, choose_held_out, read_contents
from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.imaging.kinds import IMAGE_SUFFIXES
from esrgan_jax.imaging.rgb_files import image_size
from esrgan_jax.imaging.search import find_images
from esrgan_jax.models.network import count_parameters
from esrgan_jax.runs.folder import iterations, read_config
from esrgan_jax.system import devices
from esrgan_jax.system.progress import duration
from esrgan_jax.training import configuration
from esrgan_jax.training.batch_size import fit_batch_size
from esrgan_jax.training.recipe import generator_from_config
from esrgan_jax.weights.load import load_generator_weights
from esrgan_jax.weights.network import architecture_fields, architecture_name, fields_text

PATCHES = (96, 64, 48)
"""HR patches in pixels, the largest first; a patch is taken that fits into nine of ten pictures."""

LEAST_TRAINED = 2
"""Pictures: of one alone every batch is alike, and one more is held out."""

FINE_TUNING_RATE = 1e-4
"""Half of the published start: trained weights are near their optimum, and Adam's first steps are its largest."""

EVALUATION_SHARE = 0.15
"""The most that evaluations may take of the time."""


@dataclass(frozen=True)
class Photos:
    """The usable pictures of a folder.

    Attributes:
      sizes: (height, width) of each.
      contents: a digest of each one's pixels, see `data.split`.
      left_out: name and reason of all others.
      patch: side of the HR patch that fits into all of them.
    """

    sizes: dict[Path, tuple[int, int]]
    contents: dict[Path, str]
    left_out: dict[str, str]
    patch: int


def read_photos(folder: Path, least: int) -> Photos:
    """Read the pictures of a folder, each once from beginning to end.

    Raises:
      DataError: fewer than `least` different ones can be used; says what is needed, and which cannot be.
    """
    files = find_images(folder)
    bad: dict[str, str] = {}
    contents = read_contents(files, bad)
    sizes = {file: image_size(file) for file in contents}
    shortest = sorted(min(size) for size in sizes.values())
    patch = next(
        (side for side in PATCHES if shortest and shortest[len(shortest) // 10] >= side), PATCHES[-1]
    )
    for file, size in list(sizes.items()):
        if min(size) < patch:
            bad[str(file)] = f"{file} has {size_text(size)}, and {patch}x{patch} are needed."
            del sizes[file], contents[file]
    if len(set(contents.values())) < least:
        reasons = "".join(f" {reason}" for reason in list(bad.values())[:5])
        raise DataError(
            f"{folder} holds {len(set(contents.values()))} different pictures to train with, and at least {least} "
            f"are needed, of {patch}x{patch} pixels or more ({', '.join(IMAGE_SUFFIXES)}): add some.{reasons}"
        )
    return Photos(sizes, contents, bad, patch)


def plan(
    config: ConfigDict,
    folder: Path,
    workdir: Path,
    *,
    chosen: set[str],
    model: str | None = None,
    hours: float | None = None,
    scale: int | None = None,
    validation: Path | None = None,
) -> list[str]:
    """Complete a configuration so that it trains on a folder, and return the plan: lines to print.

    A run that is there goes on with the configuration it began with: its split and its steps stay.

    Args:
      config: configs/own_photos.py, with the fields of the command line; it is changed in place.
      folder: the pictures.
      workdir: the run folder.
      chosen: fields that the user set, which stay as they are: "psnr.batch_size".
      model: what is fine-tuned; None: a new network.
      hours: time for all; None: 2.
      scale: times larger; None: that of `model`, else the configuration's.
      validation: a folder of pictures to hold out; None: some of `folder`.

    Raises:
      UserError: pictures or model cannot be used, or contradict a value that was given.
    """
    start = time.perf_counter()
    if any(field.startswith("distributed.") for field in chosen):
        raise ConfigError("Training on a folder is for one machine: for several, see docs/multihost.md.")
    if hours is not None and not hours > 0:
        raise ConfigError(f"--hours (={hours}) must be above 0.")
    given = _given_scale(config, chosen, scale)
    config.name = config.name if "name" in chosen else folder.resolve().name
    source = f"{PREFIX}{folder}"
    before = read_config(workdir) if iterations(workdir, "psnr") else None
    if before:
        return _resume(config, before, source, workdir, chosen, model, given)

    devices.prepare([config.psnr.batch_size], config.num_devices)
    photos = read_photos(folder, LEAST_TRAINED + (validation is None))
    # The GAN stage needs VGG weights and days to be worth it.
    values: dict[str, Any] = {"data.train": source, "psnr.gt_size": photos.patch, "stages": ("psnr",)}
    if given is not None:
        values["scale"] = given
    if model is not None:
        values |= _take_network(config, chosen, model, given)
    if validation is None:
        old = _held_out_before(model) & set(photos.contents.values())
        held_out = tuple(sorted(old)) or choose_held_out(photos.contents.values())
        values |= {"data.validation": source, "data.held_out": held_out}
        scored = [file for file, content in photos.contents.items() if content in held_out]
    else:
        values["data.validation"] = str(validation)
        scored = find_images(validation)
    _set(config, values, chosen)
    generator = generator_from_config(config)
    seconds, timed = fit_batch_size(config, chosen)

    # The clock.
    pixels = sum(
        math.prod(photos.sizes[file] if file in photos.sizes else image_size(file)) for file in scored
    )
    # Forwards alone take a third of an iteration; tiles that overlap and the metrics as much again.
    evaluation = pixels * 0.6 * seconds / (config.psnr.batch_size * config.psnr.gt_size**2)
    # This took as long as the run's own start, which compiles the same again.
    budget = max((2.0 if hours is None else hours) * 3600 - 2 * (time.perf_counter() - start), 1.0)
    count = max(1, min(20, int(EVALUATION_SHARE * budget / evaluation)))
    steps = max(1, int(max(budget - (count + 1) * evaluation, budget / 2) / seconds))
    if "psnr.steps" not in chosen:
        config.psnr.steps = steps
    steps = config.psnr.steps
    _set(
        config,
        {
            "psnr.scheduler.periods": (steps,),
            "psnr.ema_decay": min(0.999, max(0.9, 1 - 10 / steps)),  # over a tenth of a short run
            "evaluate_every": math.ceil(steps / count),
            "checkpoint_every": max(1, min(steps, round(600 / seconds))),  # ten minutes
            "log_every": max(1, min(100, round(15 / seconds))),
        },
        chosen,
    )
    configuration.check(config.to_dict(), len(devices.choose_devices(config.num_devices)))

    # The plan.
    evaluations = 1 + math.ceil(steps / (config.evaluate_every or steps))
    parameters = count_parameters(generator)
    sizes = sorted(photos.sizes.values(), key=math.prod)
    trained = len(photos.sizes) - (len(scored) if validation is None else 0)
    example = shlex.quote(str(workdir / "samples" / "lr.png"))  # training.writer writes it
    checkpoint = 16 * parameters / 1e6  # float32: parameters, their average, two moments of Adam
    kept = config.max_to_keep + 1
    return [
        f"photos    {len(photos.sizes)} in {folder}, {size_text(sizes[0])} to {size_text(sizes[-1])}; "
        f"{trained} to train on, {len(scored)} held out",
        f"held out  {_some([str(file) for file in scored])}",
        *(f"left out  {reason}" for reason in photos.left_out.values()),
        f"network   {architecture_name(generator)} x{generator.scale}, {fields_text(generator)}: {parameters:,} "
        f"parameters, {f'from {model}' if model else 'new'}",
        f"training  L1, {steps} iteration{'s' * (steps > 1)} of {config.psnr.batch_size} patches of "
        f"{config.psnr.gt_size}x{config.psnr.gt_size} pixels, learning rate {config.psnr.optim_g.lr:g}",
        f"time      about {duration(steps * seconds + evaluations * evaluation)}: {seconds:.2g} s an iteration "
        f"({timed} were timed on this machine just now), {evaluations} evaluations of about {duration(evaluation)}",
        f"disk      about {kept * checkpoint + 2 * parameters * 4 / 1e6:.0f} MB: {kept} checkpoints of "
        f"{checkpoint:.1f} MB and the model file, pictures besides",
        f"result    {workdir / f'net_g_{steps}.pth'}, curves.png and samples/ beside it",
        f"then      esrgan-jax upscale {example} -o large.png --model {shlex.quote(str(workdir))}",
    ]


def _given_scale(config: ConfigDict, chosen: set[str], scale: int | None) -> int | None:
    if "scale" not in chosen:
        return scale
    if scale not in (None, config.scale):
        raise ConfigError(
            f"--scale (={scale}) and --config.scale (={config.scale}) differ: give one of the two."
        )
    return config.scale


def _resume(
    config: ConfigDict,
    before: dict[str, Any],
    source: str,
    workdir: Path,
    chosen: set[str],
    model: str | None,
    scale: int | None,
) -> list[str]:
    """Go on as the run began; only what was given now, and where the folder lies now, may be new."""
    for name, now, was in (("--from", model, before["init_from"]), ("--scale", scale, before["scale"])):
        if now not in (None, was):
            raise ConfigError(
                f"{workdir} was begun with {name} {was}, and {name} is {now} now: leave it out, or choose another "
                "--workdir."
            )
    moved = {"data.train": source}
    if str(before["data"]["validation"]).startswith(PREFIX):
        moved["data.validation"] = source
    _replace_network(config, before["network_g"])
    _set(config, configuration.flatten(before) | moved, chosen)
    done = iterations(workdir, "psnr")[-1]
    return [f"resume    {workdir}, at iteration {done} of {config.psnr.steps}; its split and its steps stay"]


def _take_network(config: ConfigDict, chosen: set[str], model: str, scale: int | None) -> dict[str, Any]:
    """Make the network that of `model`; return the other fields that follow from it."""
    module, _, _ = load_generator_weights(model, config.param_key_g)
    found = {"type": architecture_name(module), **architecture_fields(module)}
    for name, value in found.items():
        field = "scale" if name == "scale" else f"network_g.{name}"
        now = scale if name == "scale" else config.network_g.get(name) if field in chosen else None
        if now not in (None, value):
            raise ConfigError(f"{model} has {name}={value}, but {field} is {now}: leave {field} out.")
    kept = {name: config.network_g[name] for name in config.network_g if f"network_g.{name}" in chosen}
    scale = found.pop("scale")
    _replace_network(config, found | kept)
    return {"scale": scale, "init_from": model, "psnr.optim_g.lr": FINE_TUNING_RATE}


def _replace_network(config: ConfigDict, fields: dict[str, Any]) -> None:
    with config.unlocked():
        config.network_g = ConfigDict(fields)
    config.lock()


def _held_out_before(model: str | None) -> set[str]:
    """Return what the run that is fine-tuned held out: it stays so."""
    before = read_config(Path(model)) if model is not None and Path(model).is_dir() else None
    return set((before or {}).get("data", {}).get("held_out", ()))


def _set(config: ConfigDict, values: dict[str, Any], chosen: set[str]) -> None:
    config.update_from_flattened_dict({name: value for name, value in values.items() if name not in chosen})


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
