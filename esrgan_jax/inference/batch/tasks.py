"""Which picture files are upscaled, and where the results go."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from esrgan_jax.errors import ConfigError
from esrgan_jax.imaging.kinds import describe_left_out
from esrgan_jax.imaging.open_image import upscaled_suffixes
from esrgan_jax.imaging.search import is_folder, natural_key, search_folder
from esrgan_jax.imaging.write_picture import WRITABLE, format_of


@dataclasses.dataclass(frozen=True)
class UpscaleTask:
    """A picture file, and the file for its enlargement; `problem` says why there can be none."""

    source: Path
    destination: Path
    problem: str | None = None


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
      tasks: one for each picture; frame2 comes before frame10.
      others: pictures in the folders whose formats are not read.
    """

    tasks: list[UpscaleTask]
    others: list[Path]


def plan_tasks(
    inputs: Sequence[str],
    output: str,
    *,
    suffix: str = "",
    format: str | None = None,
    skip_existing: bool = False,
) -> Plan:
    """Return every picture of files, folders and patterns with its destination.

    Folders are searched with their subfolders (see `search_folder`), whose tree is kept below `output`; single files
    and matches of patterns go directly into it. For one file `output` may be the name of the result.

    Args:
      inputs: files, folders, or patterns as in a shell (`**` for any depth).
      output: a folder, or a file if `inputs` is one file and `output` has a suffix.
      suffix: inserted between a result's name and its file type.
      format: file type of the results, a key of `WRITABLE`; None: that of the input, PNG where it is not written.
      skip_existing: results that exist are not made again: an input that is the result of another one is no input.

    Raises:
      ConfigError: an input does not exist, two inputs would have the same result, an input would be overwritten, or
        the output's file type is unknown.
    """
    others: list[Path] = []
    found: list[tuple[Path, Path]] = []
    walked: set[Path] = set()
    for text in inputs:
        items = list(_find(text, output, others))
        found += items
        walked |= {source for source, _ in items} if is_folder(text) else set()
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
    if skip_existing:
        jobs = _without_results(jobs)
    jobs = _with_problems(jobs, walked)
    _refuse_collisions([job for job in jobs if job.problem is None])
    return Plan(jobs, others)


def _find(text: str, output: str, others: list[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield (path, name below the output folder) of the pictures of one input; those of other formats go to `others`.

    What cannot be opened is a picture too: it fails by its name.
    """
    path = Path(text)
    if is_folder(path):
        inside = os.path.realpath(output)
        suffixes = upscaled_suffixes()
        # Earlier results, where the output folder lies in the input folder, are no input.
        is_input = inside == os.path.realpath(path)
        images, left_out = (
            [image for image in found if is_input or not os.path.realpath(image).startswith(inside + os.sep)]
            for found in search_folder(path, suffixes)
        )
        others += left_out
        if not images:
            more = f"; {describe_left_out(left_out)}" if left_out else ""
            raise ConfigError(f"{text} contains no pictures ({', '.join(suffixes)}){more}.")
        yield from ((image, image.relative_to(path)) for image in sorted(images, key=natural_key))
    elif os.path.lexists(path):
        yield path, Path(path.name)
    elif glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True), key=natural_key)  # noqa: PTH207 (absolute ones too)
        files = [Path(match) for match in matches if not is_folder(match)]
        if not files:
            raise ConfigError(f"No file matches the pattern {text}.")
        yield from ((file, Path(file.name)) for file in files)
    else:
        raise ConfigError(f"{text} does not exist. Give a file, a folder or a pattern.")


def _names_a_file(inputs: Sequence[str], output: str) -> bool:
    alone = len(inputs) == 1 and os.path.lexists(inputs[0]) and not is_folder(inputs[0])
    into_folder = output.endswith(("/", os.sep)) or is_folder(output)
    return alone and not into_folder and bool(Path(output).suffix)


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


def _without_results(jobs: Sequence[UpscaleTask]) -> list[UpscaleTask]:
    """Leave out inputs that are the result of another input, as a_x4.png of a.png."""
    results = {_place(job.destination) for job in jobs if _place(job.destination) != _place(job.source)}
    return [
        job
        for job in jobs
        if _place(job.source) not in results or _place(job.destination) == _place(job.source)
    ]


def _with_problems(jobs: Sequence[UpscaleTask], walked: set[Path]) -> list[UpscaleTask]:
    """Return the tasks; where a.gif and a.png of a folder would both become a.png, that of a.gif will fail."""
    weak = {job.source for job in jobs if job.source in walked and format_of(job.source) is None}
    taken: dict[str, Path] = {}
    for job in sorted(jobs, key=lambda job: job.source in weak):
        taken.setdefault(_place(job.destination), job.source)
    return [
        job
        if job.source not in weak or (first := taken[_place(job.destination)]) == job.source
        else dataclasses.replace(
            job,
            problem=f"{job.source} and {first} would both become {job.destination}. Upscale it into another folder.",
        )
        for job in jobs
    ]


def _refuse_collisions(jobs: Sequence[UpscaleTask]) -> None:
    inputs = {_identity(job.source): job.source for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        victim = inputs.get(identity) if (identity := _identity(job.destination)) else None
        if victim is not None:
            raise ConfigError(
                f"The result of {job.source} would overwrite the input {victim}. Choose another -o, or add --suffix"
                + ("." if victim == job.source else "; if it is an earlier result, add --skip-existing.")
            )
        place = _place(job.destination)
        if place in taken:
            raise ConfigError(
                f"{taken[place]} and {job.source} would both become {job.destination}. Upscale them into different "
                "folders."
            )
        taken[place] = job.source


def _place(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # there is no such file
        return None
    return status.st_dev, status.st_ino
