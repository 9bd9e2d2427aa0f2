"""The shards of a set: planned, written on all cores, kept after a kill."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from esrgan_jax.data.preparation.originals import Original
from esrgan_jax.data.preparation.records import RecordSet, write_shard
from esrgan_jax.data.preparation.subimages import Examples, SubimageGrid, make_examples
from esrgan_jax.system.devices import available_cores
from esrgan_jax.system.files import atomic_write

# Raised when the same originals would give other examples: earlier shards are then made again.
_VERSION = 2
_ORIGINALS_PER_SHARD = 6  # about 100 MB of sub-images of DIV2K; a kill loses at most as much work
_MAX_SHARDS = 1024

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Split:
    """The pictures of a split.

    Attributes:
      originals: the pictures.
      grid: how they are cut; None: they stay whole.
    """

    originals: list[Original]
    grid: SubimageGrid | None


@dataclass(frozen=True)
class Shard:
    """Originals that go into one file.

    Attributes:
      split: name of its split.
      name: of the file.
      originals: the pictures.
      grid: how they are cut; None: they stay whole.
      digest: of everything that determines the contents of the file.
    """

    split: str
    name: str
    originals: list[Original]
    grid: SubimageGrid | None
    digest: str


@dataclass
class ShardReport:
    """The numbers of a finished shard.

    Attributes:
      digest: of the shard.
      images: number of originals that were used.
      examples: number of sub-images, or of whole images.
      small: number of originals smaller than a sub-image on a side.
      bytes: of the file.
      skipped: why the other originals were not used, a sentence each.
    """

    digest: str
    images: int = 0
    examples: int = 0
    small: int = 0
    bytes: int = 0
    skipped: list[str] = dataclasses.field(default_factory=list)

    def add(self, result: Examples) -> None:
        """Count one original."""
        self.examples += len(result.serialized)
        self.small += result.small
        if result.skipped is None:
            self.images += 1
        else:
            self.skipped.append(result.skipped)


def plan_shards(records: RecordSet, splits: Mapping[str, Split], scale: int) -> list[Shard]:
    """Assign originals to shards by their names, so that one more or fewer changes one shard, not all."""
    shards = []
    for split_name, split in splits.items():
        exponent = round(math.log2(max(1, len(split.originals) / _ORIGINALS_PER_SHARD)))
        groups: list[list[Original]] = [[] for _ in range(min(2**exponent, _MAX_SHARDS))]
        for original in split.originals:
            name = original.hr.identity()[0].encode(errors="surrogateescape")
            groups[zlib.crc32(name) % len(groups)].append(original)
        grid = None if split.grid is None else dataclasses.asdict(split.grid)
        for index, group in enumerate(groups):
            recipe = [_VERSION, scale, grid, [original.identity() for original in group]]
            digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
            file = records.shard_name(split_name, index, len(groups))
            shards.append(Shard(split_name, file, group, split.grid, digest))
    return shards


class ShardFolder:
    """The folder in which shards are written, with a report of each finished one.

    Args:
      folder: created if it does not exist.

    Raises:
      OSError: it cannot be created.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.shards = folder / "set"
        self._reports = folder / "reports"
        self.shards.mkdir(parents=True, exist_ok=True)
        self._reports.mkdir(exist_ok=True)

    def finished_shards(self, shards: list[Shard], *, keep_skipped: bool) -> dict[str, ShardReport]:
        """Return the reports, by name, of finished shards that are still valid; remove all other files.

        Args:
          shards: all shards of the set.
          keep_skipped: keep those in which originals were skipped; otherwise they are made again.
        """
        kept = {}
        for shard in shards:
            try:
                report = ShardReport(**json.loads((self._reports / shard.name).read_text()))
                same = (self.shards / shard.name).stat().st_size == report.bytes
            except (FileNotFoundError, ValueError, TypeError):
                continue
            if same and report.digest == shard.digest and (keep_skipped or not report.skipped):
                kept[shard.name] = report
        for file in [*self.shards.iterdir(), *self._reports.iterdir()]:
            if file.name not in kept:
                file.unlink()
        return kept

    def make(
        self,
        shards: list[Shard],
        records: RecordSet,
        scale: int,
        advance: Callable[[Examples], None],
        workers: int | None = None,
    ) -> Iterator[tuple[str, ShardReport]]:
        """Write shards one after the other, while threads work ahead on pictures of this one and the next.

        Threads, because decoding, shrinking and encoding release Python's lock: processes were no faster, and they
        outlive a killed parent.

        Args:
          shards: the shards to write.
          records: their set.
          scale: how many times HR is larger than LR.
          advance: called after each original.
          workers: number of threads; None: all cores that this process may use.

        Yields:
          The name of each shard and its report, once both are on disk.

        Raises:
          OSError: a file cannot be written.
        """

        def work(job: tuple[Shard, Original]) -> Examples:
            shard, original = job
            return make_examples(original, shard.grid, scale, records)

        def examples(shard: Shard, report: ShardReport) -> Iterator[bytes]:
            for result in itertools.islice(results, len(shard.originals)):
                yield from result.serialized
                report.add(result)
                advance(result)

        jobs = ((shard, original) for shard in shards for original in shard.originals)
        workers = workers or available_cores()
        with (
            ThreadPoolExecutor(workers) as pool,
            # Finished pictures wait in memory, some twenty megabytes each.
            contextlib.closing(_map_prefetched(pool, work, jobs, 2 * workers)) as results,
        ):
            for shard in shards:
                report = ShardReport(shard.digest)
                write_shard(self.shards / shard.name, examples(shard, report))
                report.bytes = (self.shards / shard.name).stat().st_size
                with atomic_write(self._reports / shard.name) as temporary:
                    temporary.write_text(json.dumps(dataclasses.asdict(report)))
                yield shard.name, report


def _map_prefetched(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R, None, None]:
    """Yield results in the order of `items`, with at most `ahead` of them in work or waiting."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
