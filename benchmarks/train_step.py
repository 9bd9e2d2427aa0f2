"""How fast one training iteration is, ours beside PyTorch's: python benchmarks/train_step.py [--stage gan] [...].

One JSON line; what is done shows on stderr. Sides, each in a process of its own, all with the same sizes and random
weights, on one fixed batch that lies on the device:

  esrgan_jax           this project's stages, with the iteration's two compiled steps
  torch_eager          as the official trainer does it: NCHW, eager, float32 (benchmarks/torch_esrgan.py)
  torch_channels_last  PyTorch with less work and a better layout, in --dtype
  torch_compile        that with torch.compile, which takes minutes to compile on a CPU

Warm-up is apart; then the sides take turns for --rounds rounds of --iterations iterations. `seconds` is the median
over the rounds of seconds an iteration, with the fastest and slowest round; `ratio` is the median of ours / theirs in
the same round. share_of_peak counts the convolutions and matrix products that the iteration needs at least (a forward
once, its gradients twice; recomputed blocks and D's third run not at all) against the best that either library
multiplies square matrices of that dtype here. memory_mb: of the iterations after the warm-up, less what the process
had after its imports (CPU); the most the device's allocator gave out, with JAX the warm-up included (GPU).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import machine
from iteration import find_project, make_batch, make_stage, operations

SIDES = ("esrgan_jax", "torch_eager", "torch_channels_last", "torch_compile")
WARM_UP = 2  # iterations after the one that compiles


def main() -> None:
    """Measures what the command line asks for and prints the line; as --worker serves one side."""
    options = _parse()
    if options.worker:
        _serve(options)
        return
    report = {"benchmark": "train_step", **machine.describe(), **_fields(options)}
    workers = {side: Worker(__file__, side) for side in options.sides}
    for side, worker in workers.items():
        print(f"{side}: first iterations", file=sys.stderr)
        report[side] = worker.ask("start")
    rounds: dict[str, list[float]] = {side: [] for side in workers}
    for number in range(options.rounds):
        for side in sorted(workers, reverse=number % 2 == 1):
            rounds[side].append(workers[side].ask("iterate"))
            print(f"round {number + 1}, {side}: {rounds[side][-1]:.4f} s an iteration", file=sys.stderr)
    for side, worker in workers.items():
        report[side] |= worker.ask("memory")
    peaks = [worker.ask("peaks") for worker in workers.values()]  # {dtype: FLOP/s}
    for worker in workers.values():
        worker.end()
    peak = {dtype: max(found[dtype] for found in peaks) for dtype in peaks[0]}
    work = operations(options.stage, options.batch, options.patch, options.num_feat, options.num_block)
    report["peak_tflops"] = {dtype: round(value / 1e12, 3) for dtype, value in peak.items()}
    report["work_gflop"] = round(work / 1e9, 3)
    for side, seconds in rounds.items():
        median = statistics.median(seconds)
        dtype = "float32" if side == "torch_eager" else options.dtype
        report[side] |= {
            "seconds": round(median, 5),
            "fastest": round(min(seconds), 5),
            "slowest": round(max(seconds), 5),
            "images_per_s": round(options.batch / median, 2),
            "share_of_peak": round(work / median / peak[dtype], 4),
        }
        if side != "esrgan_jax" and "esrgan_jax" in rounds:
            ratios = [a / b for a, b in zip(rounds["esrgan_jax"], seconds, strict=True)]
            report[side]["ratio"] = round(statistics.median(ratios), 3)
    print(json.dumps(report))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=("gan", "pixel"), default="gan")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument(
        "--patch", type=int, default=128, help="side of HR in pixels; the GAN stage takes 128"
    )
    parser.add_argument("--num-block", type=int, default=23)
    parser.add_argument("--num-feat", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=3, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--remat", action=argparse.BooleanOptionalAction, default=True, help="network_g.remat, ours"
    )
    parser.add_argument("--devices", type=int, help="ours; by default one a core on a CPU, one GPU")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES[:3]))
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage == "gan" and options.patch != 128:
        parser.error("the discriminator of this benchmark takes --patch 128")
    return options


def _fields(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name not in ("worker", "sides")}


class Worker:
    """A side in a process of its own, which answers questions."""

    def __init__(self, script: str, side: str):
        self._side = side
        # JAX would take three quarters of a GPU's memory for itself; what another run compiled is no compile time.
        environment = {
            name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"
        }
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        self._process = subprocess.Popen(
            [sys.executable, script, *sys.argv[1:], "--worker", side],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: str) -> Any:
        """The answer, when the work is done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise SystemExit(f"{self._side} ended with code {self._process.wait()}")

    def end(self) -> None:
        """Ends the process."""
        self._process.communicate()


def _serve(options: argparse.Namespace) -> None:
    find_project()
    side = Ours(options) if options.worker == "esrgan_jax" else Torch(options)
    answers = {"start": side.start, "iterate": side.iterate, "memory": side.memory, "peaks": side.peaks}
    for question in sys.stdin:
        print("answer " + json.dumps(answers[question.strip()]()), flush=True)


class Ours:
    """This project's stage."""

    def __init__(self, options: argparse.Namespace):
        import jax

        from esrgan_jax.system import parallel
        from esrgan_jax.system.devices import (
            choose_devices,
            device_count_for,
            start_cpu_devices,
        )

        self._options = options
        start_cpu_devices(options.devices or device_count_for([options.batch]))
        self._devices = choose_devices(options.devices)
        if self._devices[0].platform != "cpu" and options.devices is None:
            self._devices = self._devices[:1]
        self._before = machine.resident_mb()
        self._iterate, states = make_stage(options, self._devices)
        self._states = parallel.replicate(states, self._devices)
        self._batch = parallel.shard(make_batch(options.batch, options.patch), self._devices)
        self._iteration = 0
        self._wait = jax.block_until_ready

    def _run(self, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            self._iteration += 1
            self._states, losses = self._iterate(self._states, self._batch, self._iteration)
        self._wait((self._states, losses))
        return time.perf_counter() - start

    def start(self) -> dict[str, Any]:
        """Compiles and warms up."""
        from esrgan_jax.system.devices import (
            count_compiles,
        )
        from esrgan_jax.system.memory import trim_heap

        with count_compiles() as compiled:
            first = self._run(1)
        trim_heap()  # as training does
        self._run(WARM_UP)
        machine.restart_peak()
        return {
            "device": self._devices[0].device_kind,
            "devices": len(self._devices),
            "first_iteration_s": round(first, 2),
            "compile_s": round(compiled["seconds"], 2),
        }

    def iterate(self) -> float:
        """Seconds an iteration."""
        return self._run(self._options.iterations) / self._options.iterations

    def memory(self) -> dict[str, float]:
        """Its peak."""
        stats = self._devices[0].memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            return {"memory_mb": round(stats["peak_bytes_in_use"] / 2**20, 1)}
        return {"memory_mb": round(machine.peak_mb() - self._before, 1)}

    def peaks(self) -> dict[str, float]:
        """FLOP/s of a matrix product, {dtype: f}."""
        import jax
        import jax.numpy as jnp

        def time_of(dtype, size):
            x = jnp.ones((size, size), dtype)
            multiply = jax.jit(jnp.matmul)
            self._wait(multiply(x, x))

            def measure():
                start = time.perf_counter()
                self._wait([multiply(x, x) for _ in range(4)])
                return (time.perf_counter() - start) / 4

            return measure

        return best_rates(time_of, self._devices[0].platform != "cpu")


class Torch:
    """One of PyTorch's forms."""

    def __init__(self, options: argparse.Namespace):
        import torch
        from torch_esrgan import Iteration

        self._options, self._torch = options, torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._before = machine.resident_mb()
        self._iteration = Iteration(
            options.stage,
            feat=options.num_feat,
            blocks=options.num_block,
            batch=options.batch,
            patch=options.patch,
            device=self._device,
            official=options.worker == "torch_eager",
            bfloat16=options.dtype == "bfloat16" and options.worker != "torch_eager",
            compiled=options.worker == "torch_compile",
        )

    def _run(self, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            self._iteration()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self._device == "cuda":
            self._torch.cuda.synchronize()

    def start(self) -> dict[str, Any]:
        """Warms up, and compiles where that is the form."""
        first = self._run(1)
        self._run(WARM_UP)
        name = "cpu"
        machine.restart_peak()
        if self._device == "cuda":
            name = self._torch.cuda.get_device_name()
            self._torch.cuda.reset_peak_memory_stats()
        return {
            "device": name,
            "threads": self._torch.get_num_threads(),
            "first_iteration_s": round(first, 2),
        }

    def iterate(self) -> float:
        """Seconds an iteration."""
        return self._run(self._options.iterations) / self._options.iterations

    def memory(self) -> dict[str, float]:
        """Its peak."""
        if self._device == "cuda":
            return {"memory_mb": round(self._torch.cuda.max_memory_allocated() / 2**20, 1)}
        return {"memory_mb": round(machine.peak_mb() - self._before, 1)}

    def peaks(self) -> dict[str, float]:
        """FLOP/s of a matrix product, {dtype: f}."""

        def time_of(dtype, size):
            x = self._torch.ones(size, size, dtype=getattr(self._torch, dtype), device=self._device)
            self._torch.matmul(x, x)
            self._wait()

            def measure():
                start = time.perf_counter()
                for _ in range(4):
                    self._torch.matmul(x, x)
                self._wait()
                return (time.perf_counter() - start) / 4

            return measure

        return best_rates(time_of, self._device == "cuda")


def best_rates(time_of: Any, accelerator: bool) -> dict[str, float]:
    """The best of several sizes and tries, because a peak is asked for."""
    sizes = (4096, 8192) if accelerator else (1024, 2048)
    tries = 10 if accelerator else 5
    rates = {}
    for dtype in ("float32", "bfloat16"):
        measures = {size: time_of(dtype, size) for size in sizes}
        rates[dtype] = max(2 * size**3 / measures[size]() for size in sizes for _ in range(tries))
    return rates


if __name__ == "__main__":
    main()
