"""The worst difference that tiles make, in 255ths, with real weights on real photos.

python tests/soak/upscale_seams.py MODEL PHOTO... [--tile 224] [--overlap N ...]

From each photo a square is taken where it has most detail, as it is and reduced to a third; it is upscaled at once
and in four tiles that share just the overlap. One JSON line a photo, and one with the worst of each overlap.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from esrgan_jax.imaging import imresize, read_rgb
from esrgan_jax.inference import Upscaler
from esrgan_jax.inference.tile_sizes import DEFAULT_OVERLAP
from esrgan_jax.system.devices import start_cpu_devices
from esrgan_jax.weights.load import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--tile", type=int, default=224)
    parser.add_argument("--overlap", type=int, nargs="+", default=[DEFAULT_OVERLAP])
    args = parser.parse_args()
    start_cpu_devices(os.cpu_count() or 1)
    module, variables = load_model(args.model)
    params, worst = variables["params"], dict.fromkeys(args.overlap, 0.0)
    whole, tiled = {}, {}
    for overlap in args.overlap:
        size = 2 * args.tile - overlap
        whole[overlap] = Upscaler(module, params, tile=size)
        tiled[overlap] = Upscaler(module, params, tile=args.tile, overlap=overlap)
    for path in args.photos:
        photo = read_rgb(path)
        pair = [photo, imresize(photo, 1 / 3)]
        seen = {}
        for kind, image in zip(("original", "a third"), pair, strict=True):
            for overlap in args.overlap:
                square = _most_detail(image, 2 * args.tile - overlap).astype(np.float32) / 255
                results = [np.clip(upscaler[overlap](square), 0, 1) for upscaler in (whole, tiled)]
                difference = 255 * float(np.abs(results[1] - results[0]).max())
                seen[f"{kind}, {overlap}"] = round(difference, 3)
                worst[overlap] = max(worst[overlap], difference)
        print(json.dumps({"photo": path.name} | seen), flush=True)
    print(
        json.dumps({"tile": args.tile, "worst": {str(key): round(value, 3) for key, value in worst.items()}})
    )


def _most_detail(image: np.ndarray, size: int) -> np.ndarray:
    corners = [
        (y, x)
        for y in range(0, image.shape[0] - size + 1, size // 2)
        for x in range(0, image.shape[1] - size + 1, size // 2)
    ]
    squares = [image[y : y + size, x : x + size] for y, x in corners]
    return max(squares, key=lambda square: np.abs(np.diff(square.astype(np.float32), axis=1)).mean())


if __name__ == "__main__":
    main()
