"""Turn weights of any kind into .pth, .safetensors or a run folder.

The suffix of DST says what is written, with BasicSR's names, ready for BasicSR, spandrel, chaiNNer and
ComfyUI:

  .pth           {params, params_ema} where SRC has both, else the one it has; needs no more than torch.load
  .safetensors   one network, its architecture in the metadata; the average (EMA) where there is one
  no suffix      a run folder, which train.py takes as --config.init_from

An existing file is replaced once the new one is whole. Values are kept bit for bit unless --to-dtype is
given.

  esrgan-jax convert 4x_community_model.pth model.safetensors
  esrgan-jax convert runs/x4 for_chainner.pth --key params_ema --to-dtype float16
"""

import argparse
from pathlib import Path

DTYPES = ("float32", "float16", "bfloat16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("source", metavar="SRC", help="a weight file, a run folder, or a name of the zoo")
    parser.add_argument("destination", metavar="DST", type=Path, help="what to write")
    parser.add_argument(
        "--to-dtype", choices=DTYPES, help="store floating-point numbers as these (default: as in SRC)"
    )
    parser.add_argument(
        "--key", help="write only this of SRC: params, params_ema, discriminator, or a wrapper in it"
    )
    add_architecture(parser)


def add_architecture(parser: argparse.ArgumentParser) -> None:
    """Adds what a weight file may leave open."""
    parser.add_argument("--arch", help="what SRC is, where its names fit several: RRDBNet, vgg16, vgg19, ...")
    parser.add_argument(
        "--scale",
        type=int,
        choices=(1, 2, 3, 4, 8),
        help="a generator's scale, where its arrays fit several: x3 looks like x2, and is taken for it",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import ml_dtypes
    import numpy as np

    from esrgan_jax.weights import load, save

    save.check_destination(args.destination)
    load.check_architecture_name(args.arch)
    source = load.open_weights(args.source)
    chosen = source.choose(args.key)
    roles = {found.role: found for found in reversed(source.found) if found.role.startswith("params")}
    if args.key or chosen.role not in roles:
        roles = {chosen.role if chosen.role.startswith("params") else "params": chosen}
    networks = {role: source.recognise(found, args.arch, args.scale) for role, found in sorted(roles.items())}
    if args.to_dtype:
        dtype = np.dtype(getattr(ml_dtypes, args.to_dtype, args.to_dtype))
        networks = {role: save.cast(network, dtype, str(source.path)) for role, network in networks.items()}
    for network in networks.values():
        source.variables(network)  # refuses what nobody could load
    save.save_networks(args.destination, networks)
    network = next(iter(networks.values()))
    print(f"{args.destination}: {save.architecture_name(network.module)}, {' and '.join(networks)}")
    return 0
