"""List the published models, which every command takes by name.

A model is downloaded when a command first needs it, checked, and kept. It belongs to those who published it: see its
licence.

  esrgan-jax models
  esrgan-jax upscale photo.jpg --model RealESRGAN_x4plus -o large.png
"""

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object per model, as a list")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from esrgan_jax.weights.zoo import ZOO

    if args.json:
        report = [
            {
                "name": name,
                "network": file.network,
                "scale": file.scale,
                "purpose": file.about,
                "bytes": file.size,
                "licence": file.licence,
                "cached": file.is_cached,
                "path": str(file.path),
                "address": file.address,
            }
            for name, file in ZOO.items()
        ]
        print(json.dumps(report, indent=2))
        return 0
    for name, file in ZOO.items():
        scale = f" x{file.scale}" if file.scale else ""
        place = f"cached, {file.path}" if file.is_cached else "not downloaded yet"
        print(f"{name}\n  {file.network}{scale}: {file.about}")
        print(f"  {file.size / 1e6:.0f} MB, {file.licence}; {place}")
    return 0
