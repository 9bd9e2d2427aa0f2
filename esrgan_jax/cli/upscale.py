"""Upscale pictures: files, whole folders, any size.

Reads PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF and, after pip install "esrgan-jax[heif]", HEIC; writes the first four. 16
bits, grey, transparency, colour profile and EXIF data are kept; what a format cannot hold is reported. Each result
appears whole or not at all. A file that cannot be read does not stop the others; the exit code is then 1.

  esrgan-jax upscale photo.jpg -o photo_x4.png --model RealESRGAN_x4plus
  esrgan-jax upscale scans/ more/*.tif -o large --model runs/x4 --suffix _x4 --skip-existing
  esrgan-jax upscale poster.png -o poster.tif --model model.pth --outscale 3.5 --ensemble
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from esrgan_jax.cli import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="files, folders (with their subfolders) or patterns"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="a folder, or for one input file the result's name",
    )
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        help="a .pth or .safetensors file, a run folder, or the name of a published model; repeat it to apply "
        "several models in turn",
    )
    options.add_key(parser)
    parser.add_argument(
        "--denoise",
        type=float,
        metavar="D",
        help="share of realesr-general-x4v3, 0 to 1, in a mean with its partner that keeps noise (default: no mean, "
        "which is 1; Real-ESRGAN's own script: 0.5)",
    )
    parser.add_argument(
        "--outscale", type=float, metavar="S", help="output size / input size (default: the model's scale)"
    )
    parser.add_argument(
        "--first-frame",
        action="store_true",
        help="upscale the first frame of animations and the first page of documents (default: they fail)",
    )
    result = parser.add_argument_group("results")
    result.add_argument("--suffix", default="", help="text added to the names of the results, as _x4")
    result.add_argument(
        "--format",
        type=_format,
        metavar="EXT",
        help="file type of the results, as png or jpg (default: that of the input)",
    )
    result.add_argument(
        "--quality",
        type=int,
        default=95,
        help="JPEG and WebP quality, 1 to 100 (default: 95); 100: lossless WebP",
    )
    result.add_argument(
        "--alpha",
        choices=("bicubic", "model", "none"),
        default="bicubic",
        help="how to enlarge transparency; none: drop it (default: bicubic)",
    )
    result.add_argument("--skip-existing", action="store_true", help="skip pictures whose result exists")
    result.add_argument(
        "--compare", metavar="FILE", help="also write input and output side by side (one input only)"
    )
    work = parser.add_argument_group("computation")
    options.add_computation(work)
    work.add_argument(
        "--ensemble", action="store_true", help="average over 8 flips and rotations: better, 8 times slower"
    )
    work.add_argument(
        "--stream", action="store_true", help="write PNG and TIFF in strips, for results larger than memory"
    )


def _format(text: str) -> str:
    from esrgan_jax.imaging.write_picture import WRITABLE

    if text not in WRITABLE:
        raise argparse.ArgumentTypeError(f"'{text}' must be one of {', '.join(WRITABLE)}")
    return text


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from esrgan_jax.imaging.kinds import describe_left_out
    from esrgan_jax.inference.batch.names import check_folders
    from esrgan_jax.inference.batch.tasks import plan_tasks
    from esrgan_jax.system.files import check_writable
    from esrgan_jax.system.surroundings import say

    jobs, others = plan_tasks(
        args.inputs,
        args.output,
        suffix=args.suffix,
        format=args.format,
        skip_existing=args.skip_existing,
    )
    _check(args, jobs)
    if others:
        say(f"note: {describe_left_out(others)}")
    wanted = [
        job
        for job in jobs
        if job.problem or not (args.skip_existing and os.path.exists(job.destination))  # noqa: PTH110
    ]
    if not wanted:
        print(f"{len(jobs)} skipped: all results exist.")
        return 0
    check_folders([job.destination for job in wanted], Path(args.output))
    if args.compare:
        check_writable(Path(args.compare))
    upscaler = _load(args)

    from esrgan_jax.inference.batch.conveyor import Conveyor
    from esrgan_jax.inference.batch.progress import UpscaleProgress

    tiles = {job: _count_tiles(upscaler, job) for job in wanted}
    report = UpscaleProgress(tiles, skipped=len(jobs) - len(wanted))
    conveyor = Conveyor(upscaler, quality=args.quality, stream=args.stream, first_frame=args.first_frame)
    try:
        for event in conveyor.run(wanted):
            report.show(event)
    except KeyboardInterrupt:
        report.close()
        print(
            f"esrgan-jax upscale: interrupted; {report.summary().splitlines()[0]}. The same command with "
            "--skip-existing upscales the rest.",
            file=sys.stderr,
        )
        raise
    finally:
        report.close()
    print(report.summary())
    if args.compare and not report.exit_code:
        _compare(wanted[0], args.compare, args.first_frame)
    return report.exit_code


def _check(args: argparse.Namespace, jobs: list) -> None:
    """Check that the options fit together.

    Raises:
      ConfigError: they do not.
    """
    from esrgan_jax.errors import ConfigError
    from esrgan_jax.imaging.write_picture import STREAMED, format_of
    from esrgan_jax.inference.picture_upscaler import check_outscale
    from esrgan_jax.weights.zoo import noisy_partner

    if args.denoise is not None:
        for model in args.model:
            noisy_partner(model, args.denoise)
    if not 1 <= args.quality <= 100:
        raise ConfigError(f"--quality (={args.quality}) must be 1 to 100.")
    check_outscale(args.outscale, "--outscale")
    if args.stream:
        if args.outscale is not None:
            raise ConfigError("--stream cannot resize. Leave out --outscale or --stream.")
        other = [job.destination for job in jobs if format_of(job.destination) not in STREAMED]
        if other:
            raise ConfigError(f"--stream writes PNG and TIFF, not {other[0]}. Choose --format png or tiff.")
    if args.compare:
        if len(jobs) > 1:
            raise ConfigError(f"--compare takes one input, but there are {len(jobs)}.")
        if format_of(args.compare) is None:
            raise ConfigError(f"--compare {args.compare} must end in .png, .jpg, .webp or .tif.")
        places = {os.path.realpath(path) for path in (jobs[0].source, jobs[0].destination)}
        if os.path.realpath(args.compare) in places:
            raise ConfigError(f"--compare {args.compare} is the input or the output. Choose another name.")


def _load(args: argparse.Namespace) -> Any:
    import signal
    import warnings

    from esrgan_jax.system.progress import loading

    # While modules load, let Ctrl-C end the process at once: inside them it prints tracebacks, or gets lost.
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with loading():
            from esrgan_jax.system import devices

            devices.prepare()
            from esrgan_jax.inference import Chain, Upscaler
            from esrgan_jax.inference.picture_upscaler import PictureUpscaler
    finally:
        signal.signal(signal.SIGINT, interrupt)
    warnings.filterwarnings("ignore", module="PIL")  # about damage that does not prevent reading
    with loading():
        upscalers = [
            Upscaler.from_file(
                model,
                key=args.key,
                denoise=args.denoise,
                dtype=args.dtype,
                tile=args.tile,
                overlap=args.overlap,
                ensemble=args.ensemble,
            )
            for model in args.model
        ]
    return PictureUpscaler(
        upscalers[0] if len(upscalers) == 1 else Chain(upscalers), args.alpha, args.outscale
    )


def _count_tiles(upscaler: Any, job: Any) -> int:
    """Return the number of tiles by the size in the file's header, without those of alpha; 0 for a bad file."""
    from esrgan_jax.errors import DataError
    from esrgan_jax.imaging.rgb_files import image_size

    try:
        return upscaler.tile_count(*image_size(job.source, for_sets=False))
    except DataError:
        return 0


def _compare(job: Any, path: str, first_frame: bool) -> None:
    """Write the input, enlarged by bicubic interpolation, beside the output; 8 bits, on white."""
    import numpy as np

    from esrgan_jax.errors import DataError
    from esrgan_jax.imaging.picture import Picture
    from esrgan_jax.imaging.read_picture import read_picture
    from esrgan_jax.imaging.resize import imresize
    from esrgan_jax.imaging.write_picture import write_picture

    both = (read_picture(name, first_frame=first_frame) for name in (job.source, job.destination))
    before, after = (picture.with_8_bits().on_white() for picture in both)
    scale = max(after.height / before.height, after.width / before.width)
    enlarged = imresize(before.pixels, scale)[: after.height, : after.width]
    sides = [enlarged, after.pixels]
    if {side.ndim for side in sides} == {2, 3}:
        sides = [side if side.ndim == 3 else np.repeat(side[..., None], 3, axis=2) for side in sides]
    try:
        write_picture(path, Picture(np.concatenate(sides, axis=1)))
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}). {job.destination} is done.") from None
