"""What more devices cost beside the work itself: python benchmarks/devices.py [--counts 1 2 4 8] [--help].

One JSON line. On a CPU these are virtual devices that share its cores, so the networks are as small as they come,
one patch a device: what is left is the host's work, which goes by the number of arrays in the states, and that is
the full network's (its trunk is one scan). All counts take turns in one process; medians of --rounds rounds of
--iterations iterations, in milliseconds:

  dispatch    until the call of an iteration returns, the devices having been idle; on a CPU the work of the first
              devices competes with the dispatch to the others
  idle        of which the host's own: the same of a program that takes and returns the same arrays and has no work
  iteration   until all of its results are there
  all_reduce  averaging gradients of the full generator (--num-feat, --num-block) over the devices
  extra, extra_idle   dispatch and idle beyond those of one device, the medians of the rounds' differences
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import machine
from iteration import find_project, make_batch, make_stage


def main() -> None:
    """Measures, prints the line."""
    options = _parse()
    find_project()
    import jax

    from esrgan_jax.system.devices import choose_devices, start_cpu_devices

    start_cpu_devices(max(options.counts))
    report: dict[str, Any] = {"benchmark": "devices", **machine.describe(), **vars(options)}
    report["device"] = jax.local_devices()[0].device_kind
    subjects = {count: _Subject(options, choose_devices(count)) for count in options.counts}
    report["arrays_in_states"] = len(jax.tree.leaves(subjects[options.counts[0]].states))
    rounds: dict[int, list[dict[str, float]]] = {count: [] for count in subjects}
    for number in range(options.rounds + 1):
        for count in sorted(subjects, reverse=number % 2 == 1):
            measured = subjects[count].measure(options.iterations)
            if number:  # the first round compiles
                rounds[count].append(measured)
    least = rounds[min(rounds)]
    for count, found in rounds.items():
        medians = {key: round(statistics.median(run[key] for run in found), 3) for key in found[0]}
        for extra, key in (("extra", "dispatch"), ("extra_idle", "idle")):
            beyond = statistics.median(a[key] - b[key] for a, b in zip(found, least, strict=True))
            medians[extra] = round(beyond, 3)
        report[str(count)] = medians
    print(json.dumps(report))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--num-block", type=int, default=23, help="of the gradients that are averaged")
    parser.add_argument("--num-feat", type=int, default=64, help="of the gradients that are averaged")
    parser.add_argument("--iterations", type=int, default=10, help="in a round")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


class _Subject:
    """The PSNR stage of a very small network, and gradients of a large one, on some devices."""

    def __init__(self, options: argparse.Namespace, devices: Any):
        import jax
        import numpy as np

        from esrgan_jax.models import RRDBNet
        from esrgan_jax.system import parallel

        small = argparse.Namespace(stage="pixel", num_feat=4, num_block=1, dtype="float32", remat=False)
        self._iterate, states = make_stage(small, devices)
        self.states = parallel.replicate(states, devices)
        self._batch = parallel.shard(make_batch(len(devices), 16), devices)
        self._iteration = 0
        large = RRDBNet(
            num_feat=options.num_feat, num_block=options.num_block, num_grow_ch=options.num_feat // 2
        )
        shapes = jax.eval_shape(lambda: large.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32)))
        gradients = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
        self._gradients = parallel.replicate(gradients, devices)
        self._own = np.ones(len(devices), np.float32)  # makes the gradients each device's own

        def average(gradients, own):
            return parallel.all_reduce_mean(jax.tree.map(lambda x: x * own, gradients))

        self._average = parallel.pmap(
            average, in_axes=(None, 0), out_axes=None, donate_argnums=(0,), devices=devices
        )

        def hand_back(states, batch):
            return states, batch

        self._hand_back = parallel.pmap(
            hand_back, in_axes=(None, 0), out_axes=(None, 0), donate_argnums=(0, 1), devices=devices
        )

    def measure(self, iterations: int) -> dict[str, float]:
        """Milliseconds, medians."""
        import jax

        found: dict[str, list[float]] = {key: [] for key in ("dispatch", "idle", "iteration", "all_reduce")}
        for _ in range(iterations):
            self._iteration += 1
            start = time.perf_counter()
            self.states, losses = self._iterate(self.states, self._batch, self._iteration)
            returned = time.perf_counter()
            jax.block_until_ready((self.states, losses))
            done = time.perf_counter()
            self.states, self._batch = self._hand_back(self.states, self._batch)
            handed_back = time.perf_counter()
            jax.block_until_ready((self.states, self._batch))
            start_of_average = time.perf_counter()
            self._gradients = jax.block_until_ready(self._average(self._gradients, self._own))
            found["dispatch"].append(returned - start)
            found["iteration"].append(done - start)
            found["idle"].append(handed_back - done)
            found["all_reduce"].append(time.perf_counter() - start_of_average)
        return {name: 1e3 * statistics.median(seconds) for name, seconds in found.items()}


if __name__ == "__main__":
    main()
