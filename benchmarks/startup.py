"""How long it takes from the command to the first training iteration: python benchmarks/startup.py [--help].

One JSON line; what is done shows on stderr. Each start is a process of its own that imports this project, makes
random weights, compiles and runs one iteration as benchmarks/train_step.py does: `cold` with an empty compilation
cache, `warm` with the one that the cold start left, by turns --rounds times; medians, fastest and slowest. Seconds:

  imports      until this project and JAX are there and the devices are found
  init         until weights, optimizer and VGG are made and lie on the devices
  iteration    of the first iteration, compile included
  compile      of which XLA compiled, or read the cache; `compiles`: how many programs, those of init included
  total        from the start of the command to the end of that iteration
  ready        of which until its work begins: total less what a second iteration takes

train.py takes longer by its data and its evaluation of bicubic; --command measures it instead, on the embedded
photos and without VGG, up to the line that follows the first iteration.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
from iteration import find_project, make_batch, make_stage

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Starts processes, prints the line; as --worker is one of them."""
    options = _parse()
    if options.worker:
        print("answer " + json.dumps(_start(options)))
        return
    report: dict[str, Any] = {"benchmark": "startup", **machine.describe()}
    report |= {name: value for name, value in vars(options).items() if name != "worker"}
    runs: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name, found in runs.items():
                found.append(_command(options, cache) if options.command else _worker(cache))
                print(f"round {number + 1}, {name}: {found[-1]}", file=sys.stderr)
    for name, found in runs.items():
        report[name] = {key: round(statistics.median(run[key] for run in found), 2) for key in found[0]}
        report[name] |= {
            "fastest": min(run["total"] for run in found),
            "slowest": max(run["total"] for run in found),
        }
    print(json.dumps(report))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=("gan", "pixel"), default="gan")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--num-block", type=int, default=23)
    parser.add_argument("--num-feat", type=int, default=64)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--remat", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--devices", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--command", action="store_true", help="measure train.py")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _environment(cache: str) -> dict[str, str]:
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",  # as use_compilation_cache has it
        "STARTED": str(time.time()),
    }


def _worker(cache: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--worker"]
    done = subprocess.run(command, env=_environment(cache), stdout=subprocess.PIPE, text=True, check=True)
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("answer ")]
    return json.loads(answer.removeprefix("answer "))


def _start(options: argparse.Namespace) -> dict[str, float]:
    start = float(os.environ["STARTED"])
    find_project()
    import jax

    from esrgan_jax.system import parallel
    from esrgan_jax.system.devices import (
        choose_devices,
        count_compiles,
        device_count_for,
        start_cpu_devices,
    )

    start_cpu_devices(options.devices or device_count_for([options.batch]))
    devices = choose_devices(options.devices)
    if devices[0].platform != "cpu" and options.devices is None:
        devices = devices[:1]
    imported = time.time()
    with count_compiles() as compiled:
        iterate, states = make_stage(options, devices)
        states = parallel.replicate(states, devices)
        batch = parallel.shard(make_batch(options.batch, options.patch), devices)
        jax.block_until_ready((states, batch))
        made, before = time.time(), compiled["seconds"]
        states, _ = jax.block_until_ready(iterate(states, batch, 1))
    end = time.time()
    jax.block_until_ready(iterate(states, batch, 2))
    second = time.time() - end
    return {
        "imports": round(imported - start, 2),
        "init": round(made - imported, 2),
        "iteration": round(end - made, 2),
        "compile": round(compiled["seconds"] - before, 2),
        "compiles": compiled["count"],
        "total": round(end - start, 2),
        "ready": round(end - start - second, 2),
    }


def _command(options: argparse.Namespace, cache: str) -> dict[str, float]:
    """`train.py` until it says that the first iteration is done; it is then ended."""
    stage = {"gan": "gan", "pixel": "psnr"}[options.stage]
    fields = {
        "init_from": "scratch",
        "data.train": "sample",
        "data.validation": "sample",
        "perceptual.perceptual_weight": 0.0,  # its weights are a download
        "network_g.num_feat": options.num_feat,
        "network_g.num_grow_ch": options.num_feat // 2,
        "network_g.num_block": options.num_block,
        f"{stage}.batch_size": options.batch,
        f"{stage}.gt_size": options.patch,
    }
    words = [f"--config.{name}={value}" for name, value in fields.items()]
    with tempfile.TemporaryDirectory() as folder:
        words += [f"--config={ROOT / 'configs/x4.py'}:{stage}", f"--workdir={folder}/run"]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *words],
            cwd=ROOT,
            env=_environment(cache) | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "first step: " in line:
                total = round(time.perf_counter() - start, 2)
                break
        else:
            raise SystemExit(f"train.py ended with code {process.wait()}")
        process.kill()
        process.communicate()
    return {"total": total}


if __name__ == "__main__":
    main()
