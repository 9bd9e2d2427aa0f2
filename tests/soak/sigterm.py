"""SIGTERM at random moments: how long until the run is saved and gone, and does it end like an uninterrupted one?

python tests/soak/sigterm.py FOLDER [--stops 20] [--seed 0] [--config.FIELD=VALUE ...]
"""

import argparse
import json
import random
import re
import statistics
import subprocess
import time
from pathlib import Path

import runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5, help="within which a signal comes")
    options, flags = parser.parse_known_args()
    chance = random.Random(options.seed)
    folder, log = options.folder.resolve(), options.folder.resolve() / "sigterm.log"
    folder.mkdir(parents=True)
    runs.end(runs.command(folder / "whole", flags, folder / "whole.log"), folder / "whole.log")
    run, gone, early = folder / "run", [], 0
    while len(gone) < options.stops:
        process = runs.command(run, flags, log)
        if chance.random() < 0.8:  # while it trains, else in the first seconds
            runs.wait_for("images/s", process, log)
        try:
            process.wait(chance.uniform(0, options.seconds))
        except subprocess.TimeoutExpired:
            before = len(log.read_text())
            start = time.perf_counter()
            process.terminate()
            code = process.wait(120)
            seconds = time.perf_counter() - start
            said = log.read_text()[before:]
            if code == -15:  # before anything of ours ran
                early += 1
                continue
            assert code == 143 and "to resume" in said, (code, said)
            gone.append((seconds, "is saved" in said))
        else:
            assert process.returncode == 0, log.read_text()[-3000:]
            runs.assert_same(run, folder / "whole")
            run.rename(folder / f"ended-after-{len(gone)}-stops")
    runs.end(runs.command(run, flags, log), log)
    runs.assert_same(run, folder / "whole")
    rates = [float(rate) for rate in re.findall(r"([\d.]+) images/s", log.read_text())]
    saved = sorted(seconds for seconds, was_saved in gone if was_saved)
    print(
        json.dumps(
            {
                "stops": len(gone),
                "of them with something to save": len(saved),
                "while Python was starting": early,
                "seconds until gone, median": round(statistics.median(saved), 2),
                "seconds until gone, most": round(saved[-1], 2),
                "seconds until gone with nothing to save, most": round(
                    max((seconds for seconds, was_saved in gone if not was_saved), default=0), 2
                ),
                "slowest images/s": min(rates),
                "date": time.strftime("%Y-%m-%d"),
            }
        )
    )


if __name__ == "__main__":
    main()
