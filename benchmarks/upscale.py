"""How fast pictures are upscaled: python benchmarks/upscale.py [--parts torch tiles start] [--help].

One JSON line, rates in thousands of input pixels a second. Within a part the subjects take turns, and each figure
is a median of the rounds; ratios are medians of the rounds' ratios.

- torch: one picture through the full network by the Upscaler (one square tile of its longer side), beside the same
  network with the same weights in PyTorch, in channels_last and as it comes; "all_devices" is the rate of as many
  tiles as there are devices (on a CPU: one virtual device a core). `difference` is the largest between the two
  programs. On a GPU both run in bfloat16 unless --dtype is float32.
- tiles: a picture in tiles of several sizes with the default overlap, beside the same picture at once, on one
  device. `work` is how many pixels of tiles there are for one of the picture.
- start: `esrgan-jax upscale` of a 64 x 64 picture with the full network, from the shell's prompt to the end:
  with an empty compilation cache, then with a warm one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Runs the chosen parts and prints what they give."""
    args = _parse_args()
    report: dict = {"benchmark": "upscale", "cores": os.cpu_count(), "num_block": args.num_block}
    if "start" in args.parts:
        report["start"] = _start(args)  # before JAX starts here and takes the device
    if {"torch", "tiles"} & set(args.parts):
        import jax

        from esrgan_jax.system.devices import start_cpu_devices

        start_cpu_devices(os.cpu_count() or 1)
        report["device"] = f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"
        if "torch" in args.parts:
            report["torch"] = {f"{w}x{h}": _beside_torch(args, w, h) for w, h in args.sizes}
        if "tiles" in args.parts:
            report["tiles"] = _beside_untiled(args)
    print(json.dumps(report))


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["torch", "tiles", "start"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--num-block", type=int, default=23, help="depth of the network (default 23)")
    parser.add_argument(
        "--sizes", type=_size, nargs="+", default=[(128, 128), (256, 256)], help="for torch: 128 or 640x480"
    )
    parser.add_argument("--picture", type=int, nargs=2, default=[912, 912], help="height and width for tiles")
    parser.add_argument("--tiles", type=int, nargs="+", default=[512, 256, 128], help="sides of tiles")
    parser.add_argument("--dtype", help="float32 or bfloat16; by default what the Upscaler takes")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    """(width, height)."""
    width, _, height = text.partition("x")
    return int(width), int(height or width)


def _take_turns(rounds: int, subjects: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each subject in each round, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name, run in subjects.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _rate(pixels: int, seconds: list[float]) -> float:
    return round(pixels / statistics.median(seconds) / 1000, 2)


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """How many times as fast as theirs ours is."""
    return round(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)), 3)


def _whole(upscaler, picture):
    """An array enlarged without what calling the upscaler needs besides JAX: Pillow, OpenCV."""
    import numpy as np

    return np.concatenate([rows for _, rows in upscaler.strips(picture)])


def _network(args: argparse.Namespace):
    from esrgan_jax.models import RRDBNet
    from tests.helpers.variables import random_variables

    module = RRDBNet(num_block=args.num_block)
    return module, random_variables(module)["params"]


def _beside_torch(args: argparse.Namespace, width: int, height: int) -> dict:
    import jax
    import numpy as np
    import torch

    from esrgan_jax.inference import Upscaler
    from esrgan_jax.weights.convert import to_state_dict
    from tests.reference.networks import RRDBNet as TorchRRDBNet
    from tests.reference.networks import load_arrays

    module, params = _network(args)
    upscaler = Upscaler(module, params, tile=max(width, height), overlap=0, dtype=args.dtype)
    count = jax.local_device_count()
    picture = np.random.default_rng(0).random((height, width, 3), np.float32)
    row = np.tile(picture, (1, count, 1))

    accelerator = jax.default_backend() == "gpu" and torch.cuda.is_available()
    device = "cuda" if accelerator else "cpu"
    dtype = torch.bfloat16 if accelerator and args.dtype != "float32" else torch.float32
    reference = load_arrays(TorchRRDBNet(num_block=args.num_block), to_state_dict(module, {"params": params}))
    reference = reference.to(device=device, dtype=dtype)
    x = torch.from_numpy(picture.transpose(2, 0, 1)[None].copy())

    def run(memory_format):
        def once():
            reference.to(memory_format=memory_format)
            with torch.inference_mode():
                y = x.to(device=device, dtype=dtype).contiguous(memory_format=memory_format)
                return reference(y).float().cpu().numpy()[0].transpose(1, 2, 0)

        return once

    subjects = {
        "upscaler": lambda: _whole(upscaler, picture),
        "all_devices": lambda: _whole(upscaler, row),
        "torch_channels_last": run(torch.channels_last),
        "torch": run(torch.contiguous_format),
    }
    difference = float(np.abs(subjects["upscaler"]() - subjects["torch"]()).max())
    seconds = _take_turns(args.rounds, subjects)
    seconds["all_devices"] = [value / count for value in seconds["all_devices"]]  # for one picture
    return {
        "kilopixels_per_second": {name: _rate(width * height, values) for name, values in seconds.items()},
        "ratio": {
            f"{ours}/{theirs}": _ratio(seconds[ours], seconds[theirs])
            for ours in ("upscaler", "all_devices")
            for theirs in ("torch_channels_last", "torch")
        },
        "difference": difference,
    }


def _beside_untiled(args: argparse.Namespace) -> dict:
    import jax
    import numpy as np

    from esrgan_jax.inference import Upscaler
    from esrgan_jax.system import parallel

    module, params = _network(args)
    height, width = args.picture
    picture = np.random.default_rng(0).random((height, width, 3), np.float32)
    one = jax.local_devices()[:1]
    upscalers = {
        str(tile): Upscaler(module, params, tile=tile, dtype=args.dtype, devices=one) for tile in args.tiles
    }
    dtype = next(iter(upscalers.values())).dtype
    apply = jax.jit(module.clone(remat=False, dtype=dtype).apply)
    variables = {"params": parallel.replicate(params, one)}
    subjects: dict[str, Callable[[], object]] = {
        "untiled": lambda: np.asarray(apply(variables, picture[None]))
    }
    subjects |= {
        name: lambda upscaler=upscaler: _whole(upscaler, picture) for name, upscaler in upscalers.items()
    }
    seconds = _take_turns(args.rounds, subjects)
    return {
        "picture": f"{height} x {width}",
        "kilopixels_per_second": {name: _rate(height * width, values) for name, values in seconds.items()},
        "extra_time": {
            name: round(1 / _ratio(seconds[name], seconds["untiled"]) - 1, 3) for name in upscalers
        },
        "work": {
            name: round(upscaler.tile_count(height, width) * int(name) ** 2 / (height * width), 3)
            for name, upscaler in upscalers.items()
        },
    }


def _start(args: argparse.Namespace) -> dict:
    import numpy as np

    from esrgan_jax.imaging import write_png
    from esrgan_jax.weights.save import save_generator

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module, params = _network(args)
        save_generator(folder / "network.pth", module, params, params)
        write_png(folder / "small.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
        command = [sys.executable, "-m", "esrgan_jax.cli.main", "upscale", str(folder / "small.png")]
        command += ["-o", str(folder / "out"), "--model", str(folder / "network.pth")]
        environment = os.environ | {"ESRGAN_JAX_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
        seconds = []
        for _ in range(args.rounds + 1):
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
        cold, *warm = seconds
        return {
            "cold_seconds": round(cold, 2),
            "warm_seconds": round(statistics.median(warm), 2),
            "warm_spread": [round(min(warm), 2), round(max(warm), 2)],
        }


if __name__ == "__main__":
    main()
