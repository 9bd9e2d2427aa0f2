"""Degrade photos as Real-ESRGAN's training does, to look at or to test with.

PHOTOS is a folder, with its subfolders, or one photo. Each gives one pair, as training would see it: a random part of
400 x 400 pixels (smaller photos are lengthened by reflection) is degraded, and 256 x 256 of it are written, below
OUT/HR and OUT/LR, as PNG of the photo's name. OUT/contact_sheet.png shows the first 24, with what was drawn for each.

The same seed gives the same pairs.

  esrgan-jax degrade photos pairs --seed 1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from esrgan_jax.degradation.photos import Photo

SHOWN = 24
BATCH = 2  # photos degraded at a time; more are not quicker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("photos", metavar="PHOTOS", help="a folder of photos, or one photo")
    parser.add_argument("output", metavar="OUT", type=Path, help="folder of the pairs")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn (default: 0)")
    parser.add_argument("--scale", type=int, default=4, choices=(1, 2, 4), help="HR / LR size (default: 4)")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from esrgan_jax.degradation.photos import find_photos
    from esrgan_jax.degradation.sheet import contact_sheet
    from esrgan_jax.errors import ConfigError
    from esrgan_jax.imaging import write_png
    from esrgan_jax.system.files import check_writable
    from esrgan_jax.system.progress import bar

    if not 0 <= args.seed < 2**32:
        raise ConfigError(f"--seed (={args.seed}) must be from 0 to {2**32 - 1}.")
    photos = find_photos(args.photos, args.output)
    sheet = args.output / "contact_sheet.png"
    for path in (sheet, *(args.output / kind / photos[0].name for kind in ("HR", "LR"))):
        check_writable(path)
    failed: list[str] = []
    shown: list[Any] = []
    patches = _patches(photos, args.seed, failed)
    with bar(total=len(photos), name="degrade", unit="photo") as progress:
        for photo, pair in _degraded(patches, args.seed, args.scale):
            for kind, image in (("HR", pair.hr), ("LR", pair.lr)):
                write_png(args.output / kind / photo.name, image)
            if len(shown) < SHOWN:
                shown.append(pair)
            progress.update()
    for sentence in failed:
        print(f"left out  {sentence}", file=sys.stderr)
    if shown:
        write_png(sheet, contact_sheet(shown))
    count = len(photos) - len(failed)
    print(f"{count} pair{'s' * (count != 1)} in {args.output}/HR and LR; {sheet} shows {len(shown)} of them.")
    return 1 if failed else 0


def _patches(photos: list[Photo], seed: int, failed: list[str]) -> Iterator[tuple[int, Photo, np.ndarray]]:
    """Yield the part of each photo, with the photo's number; what cannot be read is named in `failed`."""
    from esrgan_jax.degradation.photos import cut_patch
    from esrgan_jax.errors import DataError
    from esrgan_jax.imaging import read_rgb

    for number, photo in enumerate(photos):
        try:
            yield number, photo, cut_patch(read_rgb(photo.source), seed, number)
        except DataError as error:
            failed.append(str(error))


def _degraded(patches: Any, seed: int, scale: int) -> Iterator[tuple[Photo, Any]]:
    """Yield each photo with its pair."""
    import itertools

    from esrgan_jax.system import devices

    devices.prepare(count=1)
    import jax
    import numpy as np

    from esrgan_jax.degradation.degrade import make_prepare
    from esrgan_jax.degradation.draws import draw
    from esrgan_jax.degradation.options import DegradationOptions
    from esrgan_jax.degradation.photos import describe
    from esrgan_jax.degradation.sheet import Pair

    options = DegradationOptions(scale=scale)
    key = jax.random.key(seed, impl="threefry2x32")
    make_keys = jax.jit(jax.vmap(lambda number: jax.random.fold_in(key, number)))
    prepare, draw_all = jax.jit(make_prepare(options)), jax.jit(jax.vmap(lambda key: draw(key, options)))
    while batch := list(itertools.islice(patches, BATCH)):
        full = [*batch, *batch[:1] * (BATCH - len(batch))]  # one shape: compiled once
        keys = make_keys(np.array([number for number, _, _ in full], np.uint32))
        result, draws = jax.device_get(
            (prepare({"hr": np.stack([patch for _, _, patch in full])}, keys), draw_all(keys))
        )
        for i, (_, photo, _) in enumerate(batch):
            words = describe(jax.tree.map(lambda x, i=i: x[i], draws))
            yield photo, Pair(result["lr"][i], result["hr"][i], [str(photo.name), *words])
