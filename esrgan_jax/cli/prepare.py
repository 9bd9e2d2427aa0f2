"""Prepare a training set: cut large pictures into sub-images, which are quick to read.

SRC is a folder of HR images (png, jpg, webp, bmp, tiff; subfolders included), or div2k to download DIV2K (4.2 GB)
with its published LR images.

The result is a set that --config.data.train=tfds:NAME and TensorFlow Datasets (without TensorFlow) read. Run the
same command again to resume after a stop. Without --name, NAME is

  div2k                div2k_sub/bicubic_x4; validation images stay whole
  div2k --whole        div2k/bicubic_x4, the same as TensorFlow Datasets' own
  FOLDER               folder_sub/bicubic_x4, after the folder's name; one split, "train"
  FOLDER --whole       folder/bicubic_x4
  FOLDER --lr FOLDER2  x4 instead of bicubic_x4

  esrgan-jax prepare div2k --data-dir sets
  esrgan-jax prepare photos --data-dir sets --name mine
"""

import argparse
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any

DIV2K = "div2k"
BICUBIC = "bicubic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source", metavar="SRC", help="a folder of HR images, or div2k (./div2k for a folder of that name)"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="folder of sets, for a new folder NAME/VERSION in it (default: that of TensorFlow Datasets, "
        "$TFDS_DATA_DIR or ~/tensorflow_datasets)",
    )
    parser.add_argument("--name", help="name of the set, as mine or mine/bicubic_x4 (default: see above)")
    parser.add_argument(
        "--scale", type=int, default=4, choices=(1, 2, 3, 4, 8), help="HR / LR size (default: %(default)s)"
    )
    parser.add_argument(
        "--lr",
        metavar="FOLDER",
        help="folder of LR images (default: made by MATLAB's bicubic); for div2k: bicubic, to make them instead of "
        "downloading them",
    )
    parser.add_argument(
        "--lr-template",
        metavar="NAME",
        help="name of the LR image of {name}, as {name}_x4 (default: {name}, else {name}x4)",
    )
    parser.add_argument("--whole", action="store_true", help="keep images whole")
    parser.add_argument(
        "--crop-size", type=int, default=480, help="side of a sub-image in HR pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--step",
        type=int,
        default=240,
        help="from one sub-image to the next, in HR pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--on-bad-image",
        choices=("error", "skip"),
        default="error",
        help="images that cannot be used: report all of them and stop without a set, or leave them out "
        "(default: %(default)s)",
    )
    downloads = parser.add_argument_group("options for div2k")
    downloads.add_argument(
        "--downloads",
        type=Path,
        metavar="FOLDER",
        help="folder of the zip files; existing ones are not downloaded (default: DIR/downloads/div2k)",
    )
    downloads.add_argument(
        "--mirror", metavar="URL", help="download the zip files from URL/DIV2K_train_HR.zip and so on"
    )
    downloads.add_argument(
        "--any-checksum",
        action="store_true",
        help="accept zip files that are not the published ones: a part of DIV2K, or repacked",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from esrgan_jax.data.preparation.prepare import prepare
    from esrgan_jax.data.preparation.records import RecordSet
    from esrgan_jax.data.preparation.subimages import SubimageGrid
    from esrgan_jax.errors import ConfigError

    is_div2k = args.source == DIV2K
    made_lr = args.lr is None if not is_div2k else args.lr == BICUBIC
    grid = None if args.whole else SubimageGrid(args.crop_size, args.step)
    if grid is not None:
        grid.check(args.scale)
    if is_div2k and args.lr not in (None, BICUBIC):
        raise ConfigError(f"With div2k, --lr is {BICUBIC} or left out, not {args.lr}.")
    if not is_div2k and (args.downloads or args.mirror or args.any_checksum):
        raise ConfigError("--downloads, --mirror and --any-checksum go with div2k, not with a folder.")
    if is_div2k and args.whole and made_lr and not args.name:
        raise ConfigError(
            "TFDS's div2k has the published LR images: give another name to a set with others (--name)."
        )
    start = time.monotonic()
    name = args.name or _default_name(args.source, args.scale, args.whole, made_lr or is_div2k)
    stock = is_div2k and args.whole and not args.name
    about = "whole images" if grid is None else f"sub-images of {grid.crop_size} pixels, step {grid.step}"
    records = RecordSet(
        name,
        args.data_dir,
        stock=stock,
        description=f"Pairs of HR and x{args.scale} LR pictures ({about}), made by esrgan-jax prepare.",
    )
    if is_div2k:
        splits, downloaded = _div2k_splits(args, grid, records.root / "downloads" / DIV2K)
    else:
        splits, downloaded = _folder_splits(args, grid), 0
    images = " + ".join(f"{len(split.originals)} ({key})" for key, split in splits.items())
    print(f"prepare   {name}: {images} images into {records.folder}", file=sys.stderr)
    report = prepare(
        records,
        splits,
        scale=args.scale,
        skip_bad=args.on_bad_image == "skip",
        download_size=downloaded,
    )
    _print_report(report, records, args.data_dir, time.monotonic() - start)
    return 0


def _default_name(source: str, scale: int, whole: bool, bicubic: bool) -> str:
    from esrgan_jax.errors import ConfigError
    from esrgan_jax.system.files import user_path

    words = re.sub(r"[^a-z0-9]+", "_", user_path(source).resolve().name.lower() if source != DIV2K else DIV2K)
    words = words.strip("_").lstrip("0123456789_")
    if not words:
        raise ConfigError(f"No name for the set can be made from {source}: give one with --name.")
    return f"{words}{'' if whole else '_sub'}/{'bicubic_' if bicubic else ''}x{scale}"


def _folder_splits(args: argparse.Namespace, grid: Any) -> dict[str, Any]:
    from esrgan_jax.data.preparation.originals import folder_originals
    from esrgan_jax.data.preparation.shards import Split

    lr = None if args.lr is None else Path(args.lr)
    return {"train": Split(folder_originals(Path(args.source), lr, args.scale, args.lr_template), grid)}


def _div2k_splits(args: argparse.Namespace, grid: Any, downloads: Path) -> tuple[dict[str, Any], int]:
    from esrgan_jax.data.preparation import div2k
    from esrgan_jax.data.preparation.shards import Split
    from esrgan_jax.system.files import user_path

    files = div2k.zip_files(args.scale, with_lr=args.lr is None)
    folder = user_path(args.downloads or downloads)
    paths = {
        kind: div2k.fetch_zip(file, folder, mirror=args.mirror, any_checksum=args.any_checksum)
        for kind, file in files.items()
    }
    splits = {
        split: Split(
            div2k.zip_originals(paths[f"{part}_hr"], paths.get(f"{part}_lr"), args.scale),
            grid if split == "train" else None,
        )
        for part, split in div2k.SPLITS.items()
    }
    return splits, sum(path.stat().st_size for path in paths.values())


def _print_report(report: dict[str, Any], records: Any, data_dir: Path | None, seconds: float) -> None:
    from esrgan_jax.system.progress import duration

    print(f"{report['name']}: {records.folder}, {duration(seconds)}")
    for split, numbers in report["splits"].items():
        cut = numbers["sub_images"]
        pieces = f"{numbers['examples']} sub-images" if cut else "whole"
        size = f"{numbers['bytes'] / 1e6:.1f} MB in {numbers['shards']} files"
        print(f"  {split}: {numbers['images']} images, {pieces}, {size}")
        if numbers["small"]:
            print(f"    {numbers['small']} images are smaller than {cut['crop_size']} pixels on a side")
    if report["skipped"]:
        print(f"  skipped: {len(report['skipped'])}")
        for sentence in report["skipped"][:10]:
            print(f"    {sentence}")
        if len(report["skipped"]) > 10:
            print(f"    and {len(report['skipped']) - 10} more, in {records.folder / 'prepare.json'}")
    config = {1: "x4:psnr --config.scale=1", 2: "x2:psnr", 4: "x4:psnr"}.get(report["scale"])
    if config is None:  # no network here is of that scale
        return
    name = f"tfds:{report['name']}"
    place = "" if data_dir is None else f" --config.data.data_dir={shlex.quote(str(data_dir))}"
    print(
        f"To train on it: esrgan-jax train --config {config} --config.data.train={name}{place} "
        f"--config.data.validation={name if 'validation' in report['splits'] else 'sample'} "
        f"--workdir runs/{report['name'].replace('/', '_')}"
    )
