"""Time that checkpoints cost, and whether memory stays flat.

python tests/soak/checkpoints.py FOLDER [--iterations 2000] [--every 500] [--rounds 3] [--config.FIELD=VALUE ...]

The PSNR stage of the quickstart, with and without checkpoints in turns; its iterations are timed by the log.
"""

import argparse
import json
import statistics
import threading
import time
from pathlib import Path

import numpy as np
import runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options, flags = parser.parse_known_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True)
    seconds: dict[int, list[float]] = {0: [], options.every: []}
    slopes = []
    for number in range(options.rounds):
        for every in seconds:
            workdir, log = folder / f"{number}-{every}", folder / f"{number}-{every}.log"
            process = runs.command(
                workdir,
                [
                    "--config.stages=psnr",
                    f"--config.psnr.steps={options.iterations}",
                    f"--config.checkpoint_every={every}",
                    "--config.evaluate_every=0",
                    "--config.log_every=10",
                    "--config.keep_best=none",
                    *flags,
                ],
                log,
            )
            watch = Watch(process.pid, log)
            runs.end(process, log)
            # Without the iteration that compiles, and without the end, which saves either way.
            moments = watch.moments
            seconds[every].append(moments[options.iterations - 10] - moments[10])
            slopes.append(
                watch.slope(moments[options.iterations // 20 * 10], moments[options.iterations - 10])
            )
    without, with_them = (statistics.median(values) for values in seconds.values())
    print(
        json.dumps(
            {
                "iterations": options.iterations,
                "seconds without checkpoints": [round(value, 1) for value in seconds[0]],
                f"seconds with one every {options.every}": [
                    round(value, 1) for value in seconds[options.every]
                ],
                "time lost, %": round(100 * (with_them / without - 1), 2),
                "memory, MB per 1,000 iterations": [round(slope, 1) for slope in slopes],
                "date": time.strftime("%Y-%m-%d"),
            }
        )
    )


class Watch:
    """When each iteration was logged, and how much memory the process had at what time."""

    def __init__(self, pid: int, log: Path):
        self.moments: dict[int, float] = {}
        self._memory: list[tuple[float, float]] = []
        self._status, self._log = Path(f"/proc/{pid}/status"), log
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            now = time.perf_counter()
            try:
                lines = self._status.read_text().splitlines()
            except OSError:
                return
            resident = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")]
            if not resident:
                return
            self._memory.append((now, resident[0]))
            for line in self._log.read_text().splitlines():
                if line.startswith("psnr      "):
                    self.moments.setdefault(int(line.split()[1].split("/")[0]), now)
            time.sleep(0.05)

    def slope(self, start: float, end: float) -> float:
        """MB per 1,000 iterations between two moments."""
        iterations, moments = zip(*self.moments.items(), strict=True)
        points = [
            (np.interp(moment, moments, iterations), memory)
            for moment, memory in self._memory
            if start <= moment <= end
        ]
        return 1000 * float(np.polyfit(*zip(*points, strict=True), 1)[0])


if __name__ == "__main__":
    main()
