"""Which pictures are upscaled, and what the results are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from esrgan_jax.errors import ConfigError
from esrgan_jax.imaging.rgb_files import find_images
from esrgan_jax.imaging.write_picture import WRITABLE, format_of


@dataclass(frozen=True)
class UpscaleTask:
    """A picture file and the file that its enlargement goes into."""

    source: Path
    destination: Path


def plan_tasks(
    inputs: Sequence[str], output: str, *, suffix: str = "", format: str | None = None
) -> list[UpscaleTask]:
    """Every picture of files, folders and patterns with its destination.

    Folders are searched with their subfolders, whose tree is kept below `output`; files and what patterns
    find go right into it. A single file may name its result itself.

    Args:
      inputs: files, folders, or patterns as of the shell (`**` for any depth).
      output: a folder, or a file if `inputs` is one file and `output` ends as a picture does.
      suffix: goes between the name and its end.
      format: png, jpg, webp or tiff; None: as the input, PNG for what is not written (BMP).

    Raises:
      ConfigError: an input does not exist, two would have one result, an input would be overwritten, or the
        output's format is unknown.
    """
    found = [item for text in inputs for item in _find(text, output)]
    unique: dict[str, tuple[Path, Path]] = {}  # a file given twice counts once
    for source, name in found:
        unique.setdefault(os.path.realpath(source), (source, name))
    wanted = list(unique.values())
    if _names_a_file(inputs, output):
        jobs = [UpscaleTask(wanted[0][0], _named_file(output, suffix, format))]
    else:
        jobs = [
            UpscaleTask(source, Path(output, _result_name(name, suffix, format))) for source, name in wanted
        ]
    _refuse_collisions(jobs)
    return jobs


def _find(text: str, output: str) -> Iterator[tuple[Path, Path]]:
    """(path, name below the output folder) of what one input stands for."""
    path = Path(text)
    if path.is_dir():
        inside = os.path.realpath(output)
        images = [
            image
            for image in find_images(path)
            # Earlier results, where the output folder lies in the input folder.
            if inside == os.path.realpath(path) or not os.path.realpath(image).startswith(inside + os.sep)
        ]
        if not images:
            raise ConfigError(f"{text} holds no picture: check the folder.")
        yield from ((image, image.relative_to(path)) for image in images)
    elif path.exists():
        yield path, Path(path.name)
    elif glob.has_magic(text):
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 (absolute ones too)
        files = [match for match in matches if match.is_file()]
        if not files:
            raise ConfigError(f"No file fits the pattern {text}: check it.")
        yield from ((file, Path(file.name)) for file in files)
    else:
        raise ConfigError(f"{text} does not exist: check the path.")


def _names_a_file(inputs: Sequence[str], output: str) -> bool:
    alone = len(inputs) == 1 and Path(inputs[0]).is_file()
    is_folder = output.endswith(("/", os.sep)) or Path(output).is_dir()
    return alone and not is_folder and bool(Path(output).suffix)


def _named_file(output: str, suffix: str, format: str | None) -> Path:
    if format_of(output) is None:
        raise ConfigError(
            f"{output} ends in {Path(output).suffix}, which is not written: choose one of {', '.join(WRITABLE)}; "
            "if it is to be a folder, end it with a slash."
        )
    if format and format_of(output) != WRITABLE[format]:
        raise ConfigError(f"{output} is not named as --format {format} is: leave one of the two out.")
    if suffix:
        raise ConfigError(f"--suffix is for results in a folder: put {suffix} into the name {output}.")
    return Path(output)


def _result_name(name: Path, suffix: str, format: str | None) -> Path:
    end = f".{format}" if format else name.suffix if format_of(name) else ".png"
    return name.with_name(name.stem + suffix + end)


def _refuse_collisions(jobs: Sequence[UpscaleTask]) -> None:
    inputs = {_identity(job.source): job.source for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        victim = inputs.get(_identity(job.destination)) if job.destination.exists() else None
        if victim is not None:
            raise ConfigError(
                f"{job.source} would overwrite the input {victim}: choose another -o, or add --suffix."
            )
        place = os.path.realpath(job.destination)
        if place in taken:
            raise ConfigError(
                f"{taken[place]} and {job.source} would both become {job.destination}: upscale them into "
                "different folders."
            )
        taken[place] = job.source


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
