"""Whether pictures are trained on that are held out: their score would be of what the network has seen."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

from esrgan_jax.errors import DataError
from esrgan_jax.system.regular_files import open_file

LISTED = 5


def check_overlap(train: Any, validation: Any) -> None:
    """Check that no file is in both sources, nor a copy of one under another name.

    Compares real paths, then sizes, and reads only files that have the size of one on the other side. Sources without
    `files` (the embedded photos, TFDS's sets) are not compared.

    Raises:
      DataError: lists the files.
    """
    trained = {file.resolve(): file for file in getattr(train, "files", ())}
    by_size: dict[int, list[Path]] = defaultdict(list)
    for file in trained:
        by_size[file.stat().st_size].append(file)
    both = []
    for file in getattr(validation, "files", ()):
        real = file.resolve()
        if real in trained:
            both.append(str(file))
            continue
        copies = by_size.get(real.stat().st_size, [])
        digest = _digest(real) if copies else b""
        both += [f"{file} (a copy of {trained[copy]})" for copy in copies if _digest(copy) == digest][:1]
    if both:
        more = f" and {len(both) - LISTED} more" if len(both) > LISTED else ""
        raise DataError(
            f"data.train and data.validation overlap in {len(both)} picture{'s' * (len(both) > 1)}: "
            f"{', '.join(both[:LISTED])}{more}. Take them out of one of the two, or have a folder split: "
            "data.train=split:FOLDER and data.validation=split:FOLDER."
        )


def _digest(file: Path) -> bytes:
    with open_file(file) as opened:
        return hashlib.file_digest(opened, "sha256").digest()
