"""Preparing a set from large pictures: resumable shard by shard, published atomically."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from esrgan_jax.data.preparation.records import RecordSet, SplitSize
from esrgan_jax.data.preparation.shards import Shard, ShardFolder, ShardReport, Split, plan_shards
from esrgan_jax.data.preparation.subimages import Examples
from esrgan_jax.errors import DataError
from esrgan_jax.system.files import atomic_write
from esrgan_jax.system.progress import bar
from esrgan_jax.system.surroundings import say

REPORT = "prepare.json"
"""The report in the folder of a finished set."""

_SECONDS_PER_LINE = 30.0  # of progress, without a terminal


def prepare(
    records: RecordSet,
    splits: Mapping[str, Split],
    *,
    scale: int,
    skip_bad: bool = False,
    download_size: int = 0,
    workers: int | None = None,
) -> dict[str, Any]:
    """Prepare a set; afterwards TFDS and `TfdsSource` read it by its name.

    Shards are written atomically into FOLDER.incomplete, beside the set's own folder. A call after a kill keeps those
    whose originals have not changed. Metadata come last, and then the folder is renamed.

    Args:
      records: the set.
      splits: its splits, by name.
      scale: how many times HR is larger than LR.
      skip_bad: leave out pictures that cannot be used; otherwise any of them is an error at the end.
      download_size: in bytes, for the metadata.
      workers: number of threads; None: all cores that this process may use.

    Returns:
      The contents of prepare.json in the set's folder: "name", "scale", "splits" {name: {"images", "examples",
      "small", "bytes", "shards", "sub_images"}}, "skipped" [sentence] and "digest". A set that exists and was made
      from the same pictures with the same options is left as it is.

    Raises:
      DataError: pictures cannot be used and `skip_bad` is False, or none is left; the set exists and was made from
        other pictures or with other options; another process works on it; it cannot be written.
    """
    try:
        shards = plan_shards(records, splits, scale)
        if records.folder.exists():
            return _finished_before(records, shards)
        workshop = ShardFolder(records.folder.with_name(f"{records.folder.name}.incomplete"))
        with _locked(workshop):
            reports = workshop.finished_shards(shards, keep_skipped=skip_bad)
            if reports:
                print(f"resume    {len(reports)} of {len(shards)} shards are finished", file=sys.stderr)
            with _Progress(shards, reports) as progress:
                todo = [shard for shard in shards if shard.name not in reports]
                reports.update(workshop.make(todo, records, scale, progress.advance, workers))
            report = _report(records, shards, reports, scale)
            if report["skipped"] and not skip_bad:
                raise DataError(_bad_pictures(workshop, report["skipped"], shards))
            for split, numbers in report["splits"].items():
                if not numbers["images"]:
                    raise DataError(
                        f"No picture for the split {split} of {records.name} can be used: see above."
                    )
            _publish(workshop, records, shards, reports, report, download_size)
        return report
    except OSError as error:
        raise DataError(
            f"{records.folder} cannot be prepared ({error.strerror or error}): fix that and run the same command "
            "again; finished shards are kept."
        ) from error


def _finished_before(records: RecordSet, shards: list[Shard]) -> dict[str, Any]:
    """Return the report of an existing set, if it is the requested one."""
    try:
        report = json.loads((records.folder / REPORT).read_text())
    except (FileNotFoundError, ValueError):
        report = {}
    if report.get("digest") != _digest(shards):
        raise DataError(
            f"{records.folder} exists, but was made from other pictures or with other options: remove it, or give "
            "the new set another name (--name) or place (--data-dir)."
        )
    print(f"{records.folder} exists already.", file=sys.stderr)
    return report


@contextlib.contextmanager
def _locked(workshop: ShardFolder) -> Iterator[None]:
    """Keep other processes from the same set; the lock ends with the process, even if it is killed."""
    try:
        import fcntl
    except ModuleNotFoundError:
        raise DataError(
            "Preparing a set needs the module fcntl, which Windows does not have: prepare it in WSL 2 (Linux on "
            "Windows)."
        ) from None
    with (workshop.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"Another process is at work in {workshop.folder}: wait until it has finished."
            ) from None
        yield


class _Progress:
    """A bar of finished pictures on a terminal; without one, a line every `_SECONDS_PER_LINE`."""

    def __init__(self, shards: list[Shard], finished: Mapping[str, ShardReport]):
        self._total = sum(len(shard.originals) for shard in shards)
        self._done = sum(len(shard.originals) for shard in shards if shard.name in finished)
        self._examples = sum(report.examples for report in finished.values())
        self._bar = bar(total=self._total, initial=self._done, name="prepare", unit=" images")
        self._said = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, result: Examples) -> None:
        """Count one picture."""
        self._done += 1
        self._examples += len(result.serialized)
        self._bar.set_postfix_str(f"{self._examples} examples", refresh=False)
        self._bar.update()
        if result.skipped is not None:
            say(f"bad       {result.skipped}")
        if self._bar.disable and time.monotonic() - self._said >= _SECONDS_PER_LINE:
            self._said = time.monotonic()
            print(f"prepare   {self._done}/{self._total} images, {self._examples} examples", file=sys.stderr)


def _report(
    records: RecordSet, shards: list[Shard], reports: Mapping[str, ShardReport], scale: int
) -> dict[str, Any]:
    splits: dict[str, dict[str, Any]] = {}
    for shard in shards:
        report = reports[shard.name]
        grid = None if shard.grid is None else dataclasses.asdict(shard.grid)
        split = splits.setdefault(
            shard.split, {"images": 0, "examples": 0, "small": 0, "bytes": 0, "shards": 0, "sub_images": grid}
        )
        for field in ("images", "examples", "small", "bytes"):
            split[field] += getattr(report, field)
        split["shards"] += 1
    return {
        "name": records.name,
        "scale": scale,
        "splits": splits,
        "skipped": [sentence for shard in shards for sentence in reports[shard.name].skipped],
        "digest": _digest(shards),
    }


def _digest(shards: list[Shard]) -> str:
    return hashlib.sha256("".join(shard.digest for shard in shards).encode()).hexdigest()


def _bad_pictures(workshop: ShardFolder, skipped: list[str], shards: list[Shard]) -> str:
    total = sum(len(shard.originals) for shard in shards)
    first = skipped[0].rstrip(".")
    return (
        f"{len(skipped)} of {total} pictures cannot be used, the first because: {first}; fix or remove them and run "
        "the same command again, or leave them out with --on-bad-image=skip; the other shards are kept in "
        f"{workshop.folder}."
    )


def _publish(
    workshop: ShardFolder,
    records: RecordSet,
    shards: list[Shard],
    reports: Mapping[str, ShardReport],
    report: dict[str, Any],
    download_size: int,
) -> None:
    """Add metadata and report to finished shards, and rename their folder to that of the set."""
    sizes = {
        name: SplitSize(
            [reports[shard.name].examples for shard in shards if shard.split == name], numbers["bytes"]
        )
        for name, numbers in report["splits"].items()
    }
    records.write_metadata(workshop.shards, sizes, download_size)
    with atomic_write(workshop.shards / REPORT) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
    for file in workshop.shards.glob("*.json"):  # TFDS does not flush them to disk
        _sync(file)
    workshop.shards.rename(records.folder)
    _sync(records.folder.parent)
    shutil.rmtree(workshop.folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
