"""Mix two networks of one architecture: (1 - alpha) A + alpha B.

The paper's way (section 3.4) to trade the sharpness of a GAN-trained network against the fidelity of the
PSNR-trained one that it started from. With 0 the result is A, with 1 it is B.

  esrgan-jax interpolate RRDB_PSNR_x4 RRDB_ESRGAN_x4 --alpha 0.8 -o interp_08.pth
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("a", metavar="A", help="a weight file, a run folder, or a name of the zoo")
    parser.add_argument("b", metavar="B", help="another one")
    parser.add_argument("--alpha", type=float, required=True, help="the share of B, 0 to 1")
    parser.add_argument(
        "-o", "--output", metavar="C", type=Path, required=True, help="what to write: see esrgan-jax convert"
    )
    parser.add_argument(
        "--key", help="params or params_ema of both (default: the average where there is one)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from esrgan_jax.errors import ConfigError
    from esrgan_jax.weights import load, save

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
    first, second = save.metadata(a.module), save.metadata(b.module)
    different = [name for name in sorted(first.keys() | second) if first.get(name) != second.get(name)]
    if different:
        name = different[0]
        raise ConfigError(
            f"{args.a} and {args.b} differ in {name} ({first.get(name)}, {second.get(name)}): only networks "
            "of one architecture can be mixed."
        )
    save.save_networks(args.output, {"params": save.interpolate(a, b, args.alpha)})
    shares = f"{1 - args.alpha:g} of {args.a} and {args.alpha:g} of {args.b}"
    print(f"{args.output}: {save.architecture_name(a.module)}, {shares}")
    return 0
