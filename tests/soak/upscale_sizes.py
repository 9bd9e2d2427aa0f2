"""Six sizes of pictures, 1 x 1 to 1200 x 1920, in exact tiles beside the whole picture at once, in a small network.

python tests/soak/upscale_sizes.py [--tile 256]

Prints a JSON line: for each size the worst difference, and how often XLA compiled for all of them. Takes minutes.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from esrgan_jax.inference import Upscaler
from esrgan_jax.models import RRDBNet
from esrgan_jax.system.devices import count_compiles, start_cpu_devices

SIZES = ((1, 1), (1, 500), (3, 7), (127, 129), (427, 640), (1200, 1920))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tile", type=int)
    args = parser.parse_args()
    start_cpu_devices(os.cpu_count() or 1)
    from helpers.untiled import untiled
    from helpers.variables import random_variables

    module = RRDBNet(num_feat=16, num_block=2)
    params = random_variables(module)["params"]
    upscaler = Upscaler(module, params, tile=args.tile, overlap="exact")
    rng = np.random.default_rng(0)
    pictures = [rng.random((*size, 3), np.float32) for size in SIZES]
    with count_compiles() as compiled:
        results = [upscaler(picture) for picture in pictures]
    report: dict = {"tile": args.tile, "compiles": int(compiled["count"])}
    for picture, result in zip(pictures, results, strict=True):
        height, width = picture.shape[:2]
        assert result.shape == (4 * height, 4 * width, 3)
        worst = np.abs(result - untiled(module, params, picture)).max()
        report[f"{height} x {width}"] = float(f"{worst:.2g}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
