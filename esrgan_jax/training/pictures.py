"""The pictures of a run: whether they are still those with which it began."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from esrgan_jax.data.pairs import PairSource
from esrgan_jax.data.sources import split_specs
from esrgan_jax.data.split import PREFIX as SPLIT_PREFIX
from esrgan_jax.system.download import file_size
from esrgan_jax.system.files import atomic_write

PICTURES_FILE = "pictures.json"
NAMED = 3
"""Names of each kind in a message."""


def describe_pictures(spec: str, lr: str | None, source: PairSource) -> list[dict[str, Any]]:
    """Return what is known of each source of a field without reading a picture, as JSON has it.

    "count" is the number of pictures, "files" the size in bytes of each file, by its name in its folder, so that a
    folder may move. The embedded photos have no files; those of a TFDS set are its shards.

    Args:
      spec: as `data.sources.open_pairs` takes it.
      lr: likewise.
      source: what it returned.
    """
    folders = [Path(one.removeprefix(SPLIT_PREFIX)).expanduser() for one in split_specs(spec)]
    lr_folders = [Path(one).expanduser() for one in split_specs(lr or "")]
    described = []
    for number, one in enumerate(getattr(source, "sources", [source])):
        files = _sizes(getattr(one, "files", ()), folders[number])
        files |= _sizes(getattr(one, "shards", ()), None)
        lr_files = getattr(one, "lr_files", None)
        if lr_files is not None:
            files |= {f"LR {name}": size for name, size in _sizes(lr_files, lr_folders[number]).items()}
        described.append({"count": len(one), "files": files})
    return described


def _sizes(files: Iterable[Path], folder: Path | None) -> dict[str, int]:
    """{name in `folder`, or without any folder: bytes}; 0 for what is no file, or none any more."""
    roots = () if folder is None else (folder, folder.resolve())

    def name(file: Path) -> str:
        inside = (file.relative_to(root) for root in roots if file.is_relative_to(root))
        return next(inside, Path(file.name)).as_posix()

    return {name(file): file_size(file) for file in files}


def read_pictures(run_folder: Path) -> dict[str, Any]:
    """Return what `write_pictures` wrote, {field: sources}; empty if there is nothing, or nothing readable."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((run_folder / PICTURES_FILE).read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def write_pictures(run_folder: Path, described: dict[str, Any]) -> None:
    """Write what fields hold into the run folder.

    Raises:
      OSError: it cannot be written.
    """
    with atomic_write(run_folder / PICTURES_FILE) as temporary:
        temporary.write_text(
            json.dumps(described) + "\n", encoding="utf-8"
        )  # names that are no UTF-8 are escaped


def changed_pictures(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return how the pictures of a run differ from those that it is to go on with.

    A field that `old` does not have counts as unchanged.

    Returns:
      Sources to train on of which pictures are gone or have changed, so that the run could not be made again. And
      other ones: new pictures, because a folder of one's own photos grows, and held-out ones. Each as "field (was 4
      pictures, is 3: a.png is gone)".
    """
    kinds: list[list[str]] = [[], []]
    for field, sources in new.items():
        for was, now in zip(old.get(field, ()), sources, strict=False):
            if was == now:
                continue
            before, after = was["files"], now["files"]
            gone = sorted(before.keys() - after.keys())
            changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
            parts = [
                _named(gone, "is gone", "are gone"),
                _named(changed, "has changed", "have changed"),
                _named(sorted(after.keys() - before.keys()), "is new", "are new"),
            ]
            names = "; ".join(part for part in parts if part)
            harmless = field != "data.train" or not (gone or changed or now["count"] < was["count"])
            kinds[harmless].append(
                f"{field} (was {was['count']} pictures, is {now['count']}{': ' * bool(names)}{names})"
            )
    return kinds[False], kinds[True]


def _named(names: Sequence[str], one: str, several: str) -> str:
    """Return "a.png, b.png, c.png and 3 more are gone"; empty for no names."""
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more} {one if len(names) == 1 else several}"
