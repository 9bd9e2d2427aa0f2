"""Score a model on images: PSNR and SSIM on Y and RGB, beside bicubic.

The protocol is that of papers and is printed: 8 bits, as many pixels cut from each side as the scale, Y of BT.601.
Without LR images, they are made from HR by MATLAB's bicubic. Test sets are recognised by their folders:
Set5/GTmod12 and Set5/LRbicx4 (BasicSR), Set5/HR and Set5/LR_bicubic/X4 (EDSR), Set5/image_SRF_4 (Huang),
DIV2K/DIV2K_valid_HR, Set5/Set5_HR.

  esrgan-jax evaluate --model RRDB_PSNR_x4 --hr Set5
  esrgan-jax evaluate --model runs/x4 --hr photos --html report.html
  esrgan-jax evaluate --model net_g.pth --hr HR --lr LR --json | jq .mean.model.psnr_y
  esrgan-jax evaluate --model bicubic --hr Set5 --scale 4
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esrgan_jax.cli import options

if TYPE_CHECKING:
    from esrgan_jax.evaluation.test_sets import TestSet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="weight file, run folder or model name (esrgan-jax models), or bicubic for MATLAB's bicubic alone",
    )
    parser.add_argument(
        "--hr",
        required=True,
        metavar="DIR",
        help="HR images: a folder, a test set, tfds:NAME, or sample for the embedded photo",
    )
    parser.add_argument(
        "--lr", metavar="DIR", help="folder of LR images (default: those of the test set, or made)"
    )
    parser.add_argument(
        "--lr-template",
        metavar="T",
        help="name of the LR image, as {name}_LRBI_x4 (default: {name} or {name}x4)",
    )
    parser.add_argument(
        "--scale",
        type=int,
        choices=(1, 2, 3, 4, 8),
        help="factor of enlargement (default: the model's; 4 for bicubic)",
    )
    parser.add_argument(
        "--crop-border",
        type=int,
        metavar="N",
        help="pixels cut from each side before scoring (default: the scale)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write one page with pictures")
    parser.add_argument("--save", metavar="DIR", type=Path, help="also write the enlarged pictures, as PNG")
    options.add_key(parser)
    options.add_computation(parser, default_dtype="float32")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of TFDS's sets, for tfds:NAME")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import json
    import sys
    import textwrap

    from esrgan_jax.errors import ConfigError, DataError, UserError
    from esrgan_jax.evaluation.page import ResultPage
    from esrgan_jax.evaluation.scores import evaluate_image, score
    from esrgan_jax.evaluation.table import ResultTable, Row
    from esrgan_jax.evaluation.test_sets import open_test_set
    from esrgan_jax.imaging import imresize, write_png
    from esrgan_jax.imaging.kinds import describe_left_out
    from esrgan_jax.system.files import check_writable
    from esrgan_jax.system.progress import bar, loading
    from esrgan_jax.system.surroundings import printable, say

    if args.crop_border is not None and args.crop_border < 0:
        raise ConfigError(f"--crop-border (={args.crop_border}) must be 0 or more.")
    with loading():
        upscale, model, scale = _model(args)
    bad: dict[str, str] = {}
    images = open_test_set(
        args.hr, args.lr, scale=scale, lr_template=args.lr_template, data_dir=args.data_dir, skipped=bad
    )
    border = scale if args.crop_border is None else args.crop_border
    indices, too_small = _large_enough(images, scale, border)
    report = ResultTable(model, images.hr, images.lr, scale, border, images.names, images.published)
    report.others = describe_left_out(images.others) if images.others else ""
    report.left_out |= bad | too_small
    files = _files_to_save(args.save, images) if args.save else []
    page = ResultPage() if args.html else None
    for path in [*files[:1], *([args.html] if args.html else [])]:
        check_writable(path)
    if not args.json:
        for topic, text in report.head():
            lines = textwrap.wrap(
                text,
                110,
                initial_indent=f"{topic:<9} ",
                subsequent_indent=" " * 10,
                break_long_words=False,  # paths stay whole, to be copied
                break_on_hyphens=False,
            )
            print(*map(printable, lines), sep="\n")
        print("", *report.table_head(), sep="\n", flush=True)
    counted = bar(indices, total=len(indices), name="evaluate", unit="image")
    failed = bool(bad)
    for index in counted:
        name = images.source.name(index)
        try:
            result = evaluate_image(upscale, images.source, index, border)
            bicubic, bicubic_scores = result.sr, result.scores
            if args.model != "bicubic":
                bicubic = imresize(result.pair["lr"], scale)
                bicubic_scores = score(name, bicubic, result.pair["hr"], border)
        except UserError as error:  # the others are scored, and what was done is not lost
            report.left_out[name] = str(error)
            say(f"left out  {error}")
            failed = True
            continue
        row = Row(images.names[index], result.scores, bicubic_scores)
        report.rows.append(row)
        if files:
            try:
                write_png(files[index], result.sr)
            except OSError as error:
                say(f"{files[index]} cannot be written ({error.strerror or error}).")
                failed = True
        if page:
            page.add(row, result, bicubic, report.methods)
        if not args.json:
            counted.write(report.table_row(row), file=sys.stdout)
            sys.stdout.flush()
    if not report.rows:
        raise DataError(next(iter(report.left_out.values())))
    if args.json:
        print(json.dumps(report.to_json(), indent=2, allow_nan=False))
    else:
        print(report.table_row(report.mean()))
        if report.remark():
            print("", *map(printable, report.remark().split("\n")), sep="\n")
    if page:
        page.write(args.html, report)
    return 1 if failed else 0


def _large_enough(images: "TestSet", scale: int, border: int) -> tuple[list[int], dict[str, str]]:
    """Return the images that can be scored, in natural order, and name and reason of those too small for a metric.

    Raises:
      DataError: all are.
    """
    from esrgan_jax.errors import DataError
    from esrgan_jax.evaluation.scores import check_size
    from esrgan_jax.imaging.search import natural_key

    found, too_small = [], {}
    for index in sorted(range(len(images.names)), key=lambda index: natural_key(images.names[index])):
        name = images.source.name(index)
        try:
            check_size(name, images.source.hr_size(index), scale, border)
            found.append(index)
        except DataError as error:
            too_small[name] = str(error)
    if not found:
        raise DataError(next(iter(too_small.values())))
    return found, too_small


def _model(args: argparse.Namespace) -> tuple[Callable[[Any], Any], str, int]:
    """Return the model as a function of pictures, in words, and its scale."""
    from esrgan_jax.errors import ConfigError
    from esrgan_jax.imaging import imresize

    if args.model == "bicubic":
        scale = args.scale or 4
        return (lambda lr: imresize(lr, scale)), "bicubic", scale

    from esrgan_jax.system import devices

    devices.prepare()
    from esrgan_jax.inference import Upscaler
    from esrgan_jax.weights.load import load_model

    module, variables = load_model(args.model, key=args.key, scale=args.scale)
    if args.scale not in (None, module.scale):
        raise ConfigError(
            f"--scale (={args.scale}) is not the scale of {args.model}, {module.scale}: leave it out."
        )
    upscaler = Upscaler(module, variables["params"], dtype=args.dtype, tile=args.tile, overlap=args.overlap)
    key = f", {args.key}" if args.key else ""
    words = f"{args.model} ({type(module).__name__} x{module.scale}{key}), computed in {args.dtype}"
    return upscaler, words, module.scale


def _files_to_save(folder: Path, images: "TestSet") -> list[Path]:
    """Return the file to which the picture of each image is saved."""
    from esrgan_jax.errors import ConfigError
    from esrgan_jax.imaging import IMAGE_SUFFIXES

    for taken in images.folders:
        if folder.resolve().is_relative_to(taken.resolve()):
            raise ConfigError(
                f"--save (={folder}) lies in {taken}, whose images it could overwrite: choose another folder."
            )
    files: dict[Path, str] = {}
    for name in images.names:
        path = Path(name.replace(":", "_"))
        stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
        file = folder / path.parent / f"{stem}.png"
        if file in files:
            raise ConfigError(f"{files[file]} and {name} would both be saved as {file}: rename one of them.")
        files[file] = name
    return list(files)
