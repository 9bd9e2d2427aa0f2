"""Interpolate two networks of one architecture: (1 - alpha) A + alpha B.

The paper (section 3.4) balances the sharpness of a GAN-trained network against the fidelity of the PSNR-trained one
that it started from in this way. With alpha 0 the result is A, with 1 it is B.

  esrgan-jax interpolate RRDB_PSNR_x4 RRDB_ESRGAN_x4 --alpha 0.8 -o interp_08.pth
"""

import argparse
from pathlib import Path

from esrgan_jax.cli import options
from esrgan_jax.cli.convert import SOURCE_HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("a", metavar="A", help=SOURCE_HELP)
    parser.add_argument("b", metavar="B", help="another one of the same architecture")
    parser.add_argument("--alpha", type=float, required=True, help="share of B, 0 to 1")
    parser.add_argument(
        "-o",
        "--output",
        metavar="C",
        type=Path,
        required=True,
        help="file or run folder to write, as in esrgan-jax convert",
    )
    options.add_key(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from esrgan_jax.errors import ConfigError
    from esrgan_jax.weights import load, save
    from esrgan_jax.weights.network import architecture_name, interpolate, metadata

    if not 0 <= args.alpha <= 1:
        raise ConfigError(f"--alpha (={args.alpha:g}) must be between 0 and 1.")
    save.check_destination(args.output)
    networks = []
    for path in (args.a, args.b):
        source = load.open_weights(path)
        network = source.recognise(source.choose(args.key))
        source.variables(network)  # refuses what does not fit
        networks.append(network)
    a, b = networks
    first, second = metadata(a.module), metadata(b.module)
    different = [name for name in sorted(first.keys() | second) if first.get(name) != second.get(name)]
    if different:
        name = different[0]
        raise ConfigError(
            f"{args.a} and {args.b} differ in {name} ({first.get(name)}, {second.get(name)}): only networks "
            "of one architecture can be mixed."
        )
    save.save_networks(args.output, {"params": interpolate(a, b, args.alpha)})
    shares = f"{1 - args.alpha:g} of {args.a} and {args.alpha:g} of {args.b}"
    print(f"{args.output}: {architecture_name(a.module)}, {shares}")
    return 0
