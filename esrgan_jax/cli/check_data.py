"""Check a training set: read every image and list those that training cannot use.

Training stops at corrupt files, files that are no images, and images that are smaller than a training patch, or
without LR image, or with one of the wrong size. Grey, 16-bit, CMYK and palette images and alpha are only converted.
The exit code is 0 if training would run, 1 if it would not.

  esrgan-jax check-data DIV2K/DIV2K_train_HR
  esrgan-jax check-data DIV2K/DIV2K_train_HR --lr DIV2K/DIV2K_train_LR_bicubic/X4
  esrgan-jax check-data photos --json | jq -r '.stops[].files | keys[]'
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esrgan_jax.data.inspection import CheckReport

NAMES_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", metavar="FOLDER", help="folder of HR images, tfds:NAME, or sample")
    parser.add_argument("--lr", metavar="FOLDER", help="folder of LR images (default: training makes them)")
    parser.add_argument("--lr-template", metavar="NAME", help="name of the LR image of {name}, as {name}x4")
    parser.add_argument("--scale", type=int, default=4, help="how many times HR is larger (default: 4)")
    parser.add_argument(
        "--gt-size", type=int, default=128, help="side of the HR patch in training, in pixels (default: 128)"
    )
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of TFDS's sets (default: TFDS's own)")
    parser.add_argument("--json", action="store_true", help="print one JSON object with all names")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    report = _inspect(args)
    if args.json:
        print(json.dumps(_as_json(args, report), indent=2))
    else:
        _print(report)
    return 0 if report.trains else 1


def _inspect(args: argparse.Namespace) -> CheckReport:
    from esrgan_jax.data import inspection
    from esrgan_jax.data.sources import SampleSource, TfdsSource
    from esrgan_jax.errors import ConfigError

    if args.scale < 1 or args.gt_size < 1:
        raise ConfigError(f"--scale (={args.scale}) and --gt-size (={args.gt_size}) must be 1 or larger.")
    tfds = args.folder.startswith("tfds:")
    if args.folder != "sample" and not tfds:
        return inspection.inspect_folder(
            args.folder,
            args.lr,
            scale=args.scale,
            gt_size=args.gt_size,
            lr_template=args.lr_template,
            progress=_bar,
        )
    if args.lr or args.lr_template:
        raise ConfigError(f"--lr and --lr-template go with a folder of HR images, not with {args.folder}.")
    source = (
        TfdsSource(args.folder.removeprefix("tfds:"), "train", args.scale, args.data_dir, memory_bytes=0)
        if tfds
        else SampleSource("train", args.scale)
    )
    return inspection.inspect_source(source, gt_size=args.gt_size, progress=_bar)


def _bar(images: Iterable[Any], total: int) -> Iterable[Any]:
    from esrgan_jax.system.progress import bar

    return bar(images, total=total, unit=" images")


def _as_json(args: argparse.Namespace, report: CheckReport) -> dict[str, Any]:
    from esrgan_jax.data.inspection import CONVERTED, NOTED, STOPS

    def listed(kinds: tuple[str, ...]) -> dict[str, Any]:
        return {
            kind: {"count": len(report.found[kind]), "files": report.found[kind]}
            for kind in kinds
            if kind in report.found
        }

    return {
        "source": args.folder,
        "lr": args.lr,
        "scale": args.scale,
        "gt_size": args.gt_size,
        "images": report.images,
        "bad": report.bad,
        "trains": report.trains,
        "stops": listed(STOPS),
        "converted": listed(CONVERTED),
        "noted": listed(NOTED),
    }


def _print(report: CheckReport) -> None:
    from esrgan_jax.data.inspection import CONVERTED, NOTED, STOPS
    from esrgan_jax.system.surroundings import printable

    print(f"{report.images} images, all of them read")
    for title, kinds in (
        ("stops training", STOPS),
        ("only converted", CONVERTED),
        ("only noted", NOTED),
    ):
        found = {kind: report.found[kind] for kind in kinds if kind in report.found}
        if found:
            print(f"\n{title}:")
        for kind, files in found.items():
            print(f"  {kind:<13}{len(files):>6}")
            for name, detail in list(files.items())[:NAMES_SHOWN]:
                line = detail if detail.startswith(name) else f"{name}: {detail}"
                print(printable(f"    {line}"))
            if len(files) > NAMES_SHOWN:
                print(f"    ... and {len(files) - NAMES_SHOWN} more; --json has them all")
    if report.trains:
        print("\nTraining would run.")
    elif report.bad == report.images:
        print("\nTraining would stop: no image can be used.")
    else:
        print(
            f"\nTraining would stop: fix or remove {report.bad} of the images, or skip them with "
            "--config.data.on_bad_image=skip."
        )
