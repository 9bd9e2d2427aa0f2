"""A check of every image of a source: which would stop training, which are converted."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import UnidentifiedImageError

from esrgan_jax.data.lr_names import LrNames
from esrgan_jax.data.pairs import PairSource, check_sizes, size_text
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.kinds import OTHER_SUFFIXES
from esrgan_jax.imaging.open_image import open_with_pillow, read_errors
from esrgan_jax.imaging.rgb_files import read_rgb
from esrgan_jax.imaging.search import natural_key
from esrgan_jax.system.devices import available_cores
from esrgan_jax.system.regular_files import NoFileError, open_file

STOPS = ("not an image", "corrupt", "too small", "no LR image", "wrong scale")
"""Kinds of images that stop training, or are left out where `data.on_bad_image` is "skip"."""

CONVERTED = ("grey", "16-bit", "alpha", "CMYK", "palette")
"""Kinds of images that are trained on as 8-bit RGB."""

DUPLICATE = "duplicate"
"""Kind of an image with the same pixels as an earlier one."""

OTHER_FORMAT = "other format"
"""Kind of a picture whose format is not read: it is no image of the set."""

NOTED = (DUPLICATE, OTHER_FORMAT)


class Finding(NamedTuple):
    """One finding about one image: its kind, the name of the file or example, and details in words."""

    kind: str
    name: str
    detail: str


@dataclasses.dataclass
class CheckReport:
    """The findings about all images.

    Attributes:
      images: number of images, bad ones included.
      bad: number of images that would stop training.
      found: {kind: {name: detail}} in the order of the images, without empty kinds.
    """

    images: int
    bad: int = 0
    found: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether training would run."""
        return not self.bad


ProgressBar = Callable[[Iterable[Any], int], Iterable[Any]]
"""(items, number of items) -> the same items, one by one; a progress bar shows how many have passed."""


def inspect_folder(
    hr: str | Path,
    lr: str | Path | None,
    *,
    scale: int,
    gt_size: int,
    lr_template: str | None = None,
    progress: ProgressBar = lambda images, _: images,
) -> CheckReport:
    """Read every image of a folder, and its LR image, from beginning to end, on all cores.

    Args:
      hr: folder of HR images.
      lr: folder of LR images, or None.
      scale: how many times HR is larger.
      gt_size: side of the HR patch in pixels.
      lr_template: see `LrNames`.
      progress: see `ProgressBar`.

    Raises:
      DataError, ConfigError: the folders or the template cannot be used. Bad images are findings.
    """
    partners = LrNames(hr, lr, scale, lr_template)

    def inspect(file: Path) -> _Inspected:
        findings, size, digest = _inspect_file(file)
        if size is not None and min(size) < gt_size:
            findings.append(_too_small(str(file), size))
        try:
            partner = partners.lr_file(file)
        except DataError as error:
            findings.append(Finding("no LR image", str(file), str(error)))
            partner = None
        if partner is not None:
            lr_findings, lr_size, _ = _inspect_file(partner)
            findings += lr_findings
            if size is not None and lr_size is not None and min(size) >= scale:
                try:
                    check_sizes(scale, file, size, partner, lr_size)
                except DataError as error:
                    findings.append(Finding("wrong scale", str(file), str(error)))
        return _Inspected(str(file), findings, digest)

    report = _inspect_all(inspect, sorted(partners.hr_files, key=natural_key), progress)
    for file in sorted(partners.others, key=natural_key):
        kind = OTHER_SUFFIXES[file.suffix.lower()]
        detail = f"{file} is {kind.name} and left out: {kind.way_out}."
        report.found.setdefault(OTHER_FORMAT, {})[str(file)] = detail
    return report


def inspect_source(
    source: PairSource, *, gt_size: int, progress: ProgressBar = lambda images, _: images
) -> CheckReport:
    """Do the same for a source that is no folder, where images are already 8-bit RGB."""

    def inspect(index: int) -> _Inspected:
        name = source.name(index)
        try:
            hr = source[index]["hr"]
        except DataError as error:
            return _Inspected(name, [Finding("corrupt", name, str(error))], None)
        findings = [Finding("grey", name, "three equal channels")] if _is_grey(hr) else []
        if min(hr.shape[:2]) < gt_size:
            findings.append(_too_small(name, hr.shape))
        return _Inspected(name, findings, _digest(hr))

    return _inspect_all(inspect, range(len(source)), progress)


class _Inspected(NamedTuple):
    name: str
    findings: list[Finding]
    digest: bytes | None


def _inspect_all(inspect: Callable[[Any], _Inspected], images: Any, progress: ProgressBar) -> CheckReport:
    report = CheckReport(images=len(images))
    names: dict[bytes, str] = {}  # of the first image with these pixels; some 200 bytes per image
    for name, findings, digest in progress(_in_threads(inspect, images), len(images)):
        if digest is not None and names.setdefault(digest, name) != name:
            findings.append(Finding(DUPLICATE, name, f"the same pixels as {names[digest]}"))
        for kind, of, detail in findings:
            report.found.setdefault(kind, {})[of] = detail
        report.bad += any(finding.kind in STOPS for finding in findings)
    return report


def _in_threads(inspect: Callable[[Any], _Inspected], images: Any) -> Iterator[_Inspected]:
    """Yield in the order of `images`. Pillow, OpenCV and hashlib release Python's lock."""
    pool = ThreadPoolExecutor(available_cores())
    try:
        yield from pool.map(inspect, images)
    finally:
        pool.shutdown(cancel_futures=True)


def _inspect_file(file: Path) -> tuple[list[Finding], tuple[int, int] | None, bytes | None]:
    """Return findings, (height, width) and a digest of the pixels; None for both if they cannot be read."""
    name = str(file)
    try:
        with (
            read_errors(file),
            open_file(file) as opened,
            open_with_pillow(opened, header_only=True) as header,
        ):
            stored = _stored_as(header)
        image = read_rgb(file)
    except DataError as error:
        unknown = isinstance(error, NoFileError) or isinstance(error.__cause__, UnidentifiedImageError)
        return [Finding("not an image" if unknown else "corrupt", name, str(error))], None, None
    if "grey" not in stored and _is_grey(image):
        stored["grey"] = "three equal channels"
    findings = [Finding(kind, name, detail) for kind, detail in stored.items()]
    return findings, (image.shape[0], image.shape[1]), _digest(image)


def _stored_as(header: Any) -> dict[str, str]:
    """Return in which ways the file is not 8-bit RGB: {kind: how training sees it}."""
    kinds = {}
    if header.mode in ("1", "L", "LA", "La") or header.mode.startswith("I;16"):
        kinds["grey"] = "becomes three equal channels"
    if ";16" in str(header.tile) or header.mode.startswith("I;16"):
        kinds["16-bit"] = "is rounded to 8 bits"
    if header.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in header.info:
        kinds["alpha"] = "is dropped"
    if header.mode == "CMYK":
        kinds["CMYK"] = "becomes RGB without a colour profile"
    if header.mode in ("P", "PA"):
        kinds["palette"] = "becomes RGB"
    return kinds


def _too_small(name: str, size: tuple[int, ...]) -> Finding:
    return Finding("too small", name, f"{size_text(size)}")


def _is_grey(image: np.ndarray) -> bool:
    # The middle row first: it is enough for nearly every colour picture, 1,000 times faster than the whole.
    for part in (image[len(image) // 2], image):
        if not (np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 0], part[..., 2])):
            return False
    return True


def _digest(image: np.ndarray) -> bytes:
    """Return a digest of the pixels and the size, whatever the file's name and format."""
    return hashlib.blake2b(
        np.ascontiguousarray(image).data, digest_size=16, key=str(image.shape).encode()
    ).digest()
