"""Which picture files are upscaled, and where the results go."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from esrgan_jax.errors import ConfigError
from esrgan_jax.imaging.kinds import IMAGE_SUFFIXES
from esrgan_jax.imaging.search import find_images
from esrgan_jax.imaging.write_picture import WRITABLE, format_of


@dataclass(frozen=True)
class UpscaleTask:
    """A picture file, and the file for its enlargement."""

    source: Path
    destination: Path


def plan_tasks(
    inputs: Sequence[str], output: str, *, suffix: str = "", format: str | None = None
) -> list[UpscaleTask]:
    """Return every picture of files, folders and patterns with its destination.

    Folders are searched with their subfolders, whose tree is kept below `output`; single files and matches of
    patterns go directly into it. For one file `output` may be the name of the result.

    Args:
      inputs: files, folders, or patterns as in a shell (`**` for any depth).
      output: a folder, or a file if `inputs` is one file and `output` has a suffix.
      suffix: inserted between a result's name and its file type.
      format: file type of the results, a key of `WRITABLE`; None: that of the input, PNG for BMP.

    Raises:
      ConfigError: an input does not exist, two inputs would have the same result, an input would be overwritten, or
        the output's file type is unknown.
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
    """Yield (path, name below the output folder) of the pictures of one input."""
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
            raise ConfigError(f"{text} contains no pictures ({', '.join(IMAGE_SUFFIXES)}).")
        yield from ((image, image.relative_to(path)) for image in images)
    elif path.exists():
        yield path, Path(path.name)
    elif glob.has_magic(text):
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 (absolute ones too)
        files = [match for match in matches if match.is_file()]
        if not files:
            raise ConfigError(f"No file matches the pattern {text}.")
        yield from ((file, Path(file.name)) for file in files)
    else:
        raise ConfigError(f"{text} does not exist. Give a file, a folder or a pattern.")


def _names_a_file(inputs: Sequence[str], output: str) -> bool:
    alone = len(inputs) == 1 and Path(inputs[0]).is_file()
    is_folder = output.endswith(("/", os.sep)) or Path(output).is_dir()
    return alone and not is_folder and bool(Path(output).suffix)


def _named_file(output: str, suffix: str, format: str | None) -> Path:
    if format_of(output) is None:
        raise ConfigError(
            f"{output} ends in {Path(output).suffix}, which cannot be written. Choose one of {', '.join(WRITABLE)}; "
            "for a folder, end the name with a slash."
        )
    if format and format_of(output) != WRITABLE[format]:
        raise ConfigError(f"{output} is not a {format} file, but --format is {format}. Leave --format out.")
    if suffix:
        raise ConfigError(
            f"--suffix is for results in a folder, and {output} is a file. Put {suffix} into its name."
        )
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
                f"The result of {job.source} would overwrite the input {victim}. Choose another -o, or add --suffix."
            )
        place = os.path.realpath(job.destination)
        if place in taken:
            raise ConfigError(
                f"{taken[place]} and {job.source} would both become {job.destination}. Upscale them into different "
                "folders."
            )
        taken[place] = job.source


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
