"""Memory of `esrgan-jax upscale`, measured on real processes: a photo of 6000x4000 streamed to 24000x16000, and a
folder of 200 pictures. Prints one JSON line each; takes about ten minutes on two cores, and 2 GB of disk.

  python tests/soak/upscale_memory.py [large] [folder] [--under FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.smooth_network import write_smooth_network

LIMIT = 2.5e9  # bytes
Image.MAX_IMAGE_PIXELS = None


def run(words: list[str]) -> tuple[list[float], float]:
    """Runs the command; its memory in GB, once a second, and the seconds it took."""
    command = [sys.executable, "-m", "esrgan_jax.cli.main", "upscale", *words]
    start = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, stderr=subprocess.DEVNULL)
    samples = []
    while process.poll() is None:
        try:
            fields = dict(
                line.split(":") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            )
            samples.append(int(fields["VmRSS"].split()[0]) * 1024 / 1e9)
        except (OSError, KeyError):  # it has just ended
            pass
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}")
    return samples, time.perf_counter() - start


def large(folder: Path, model: str) -> None:
    """One photo, with colours and grain all over, so that it does not compress to nothing."""
    photo = Image.open(Path(skimage.__file__).parent / "data/chelsea.png").resize(
        (6000, 4000), Image.Resampling.BICUBIC
    )
    grain = np.random.default_rng(0).integers(-6, 7, (4000, 6000, 1))
    image = np.clip(np.asarray(photo) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(image).save(folder / "large.jpg", quality=92)
    for suffix in ("png", "tif"):
        target = folder / f"large_x4.{suffix}"
        samples, seconds = run([str(folder / "large.jpg"), "-o", str(target), "--model", model, "--stream"])
        with Image.open(target) as result:
            size = result.size
        report = {"what": f"6000x4000 x4 --stream, {suffix}", "peak_gb": round(max(samples), 2)}
        print(json.dumps(report | {"seconds": round(seconds), "bytes": target.stat().st_size, "size": size}))
        target.unlink()
        assert size == (24000, 16000)
        assert max(samples) * 1e9 < LIMIT


def many(folder: Path, model: str) -> None:
    """Flat means: the last half needs no more than the first one, within 5 %."""
    random = np.random.default_rng(0)
    (folder / "in").mkdir()
    photo = Image.open(Path(skimage.__file__).parent / "data/chelsea.png")
    for number in range(200):
        width, height = (int(side) for side in random.integers(150, 300, 2))
        x, y = (
            int(random.integers(0, photo.width - width)),
            int(random.integers(0, photo.height - height + 1)),
        )
        photo.crop((x, y, x + width, y + height)).save(folder / f"in/{number:03d}.png")
    samples, seconds = run([str(folder / "in"), "-o", str(folder / "out"), "--model", model])
    half = len(samples) // 2
    first, second = max(samples[:half]), max(samples[half:])
    report = {"what": "200 pictures of 150 to 300 pixels a side", "peak_gb_first_half": round(first, 3)}
    print(json.dumps(report | {"peak_gb_second_half": round(second, 3), "seconds": round(seconds)}))
    assert len(list((folder / "out").iterdir())) == 200
    assert second < 1.05 * first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["large", "folder"], help="large, folder, or both")
    parser.add_argument("--under", default=None, help="where the pictures go for the time being")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.under) as name:
        model = str(write_smooth_network(Path(name, "model.pth"), num_feat=16, num_block=2))
        if "large" in args.what:
            large(Path(name), model)
        if "folder" in args.what:
            many(Path(name), model)


if __name__ == "__main__":
    main()
