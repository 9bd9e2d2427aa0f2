"""Convert weights to .pth, .safetensors or a run folder.

The suffix of DST chooses the format. Names are the official ones, which BasicSR, spandrel, chaiNNer and ComfyUI read
(for ESRGAN+ those of 2018, the only ones that other programs know):

  .pth           {params, params_ema} if SRC has both, else the one it has; torch.load reads it
  .safetensors   one network, params_ema if SRC has it, with the architecture in the metadata
  no suffix      a run folder, which train.py takes as --config.init_from

An existing file is replaced when the new one is complete. Values are kept bit for bit unless --to-dtype is given; a
network that holds NaN or infinity is refused. Where in SRC a network lies, under which keys and prefixes, does not
matter: the generator is taken, its moving average first, and --key takes another (`esrgan-jax inspect` lists them).

  esrgan-jax convert 4x_community_model.pth model.safetensors
  esrgan-jax convert runs/x4 for_chainner.pth --key params_ema --to-dtype float16
"""

import argparse
from pathlib import Path

DTYPES = ("float32", "float16", "bfloat16")

KEY_HELP = (
    "params, params_ema or discriminator, or the key or prefix that it lies under (net_g, state_dict/net_d)"
)

SOURCE_HELP = "a weight file, a run folder or the name of a published model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", metavar="SRC", help=SOURCE_HELP)
    parser.add_argument("destination", metavar="DST", type=Path, help="file or run folder to write")
    parser.add_argument(
        "--to-dtype", choices=DTYPES, help="dtype of the floating-point numbers in DST (default: as in SRC)"
    )
    parser.add_argument("--key", help=f"network in SRC to write: {KEY_HELP}")
    add_architecture(parser)


def add_architecture(parser: argparse.ArgumentParser) -> None:
    """Add --arch and --scale, for what a weight file may leave open."""
    parser.add_argument("--arch", help="architecture of the file if its arrays fit several, as vgg16")
    parser.add_argument(
        "--scale",
        type=int,
        choices=(1, 2, 3, 4, 8),
        help="scale of the generator if its arrays fit several: without it, x3 is taken for x2",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import ml_dtypes
    import numpy as np

    from esrgan_jax.weights import load, save
    from esrgan_jax.weights.network import architecture_name, cast

    save.check_destination(args.destination)
    load.check_architecture_name(args.arch)
    source = load.open_weights(args.source)
    chosen = source.choose(args.key)
    roles = {chosen.role if chosen.role.startswith("params") else "params": chosen}
    if not args.key and args.destination.suffix != ".safetensors":
        other = source.choose(order=("params",))
        roles |= {other.role: other} if other.role == "params" else {}
    networks = {role: source.recognise(found, args.arch, args.scale) for role, found in sorted(roles.items())}
    for network in networks.values():
        source.variables(network)  # refuses what nobody could load
    if args.to_dtype:
        dtype = np.dtype(getattr(ml_dtypes, args.to_dtype, args.to_dtype))
        networks = {role: cast(network, dtype, str(source.path)) for role, network in networks.items()}
    save.save_networks(args.destination, networks)
    network = next(iter(networks.values()))
    print(f"{args.destination}: {architecture_name(network.module)}, {' and '.join(networks)}")
    return 0
