"""SIGKILL at random moments, saves included: the end must be that of an uninterrupted run, bit for bit.

python tests/soak/kills.py FOLDER [--kills 50] [--seed 0] [--config.FIELD=VALUE ...]
"""

import argparse
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5, help="within which a kill comes")
    options, flags = parser.parse_known_args()
    chance = random.Random(options.seed)
    folder, log = options.folder.resolve(), options.folder.resolve() / "kills.log"
    folder.mkdir(parents=True)
    # Many checkpoints, so that many kills hit one that is being written.
    flags = ["--config.checkpoint_every=5", "--config.log_every=5", *flags]

    runs.end(runs.command(folder / "whole", flags, folder / "whole.log"), folder / "whole.log")
    run, kills, saving = folder / "run", 0, 0
    while kills < options.kills:
        start = time.perf_counter()
        process = runs.command(run, flags, log)
        if chance.random() < 0.8:  # while it trains, else in the first seconds
            runs.wait_for("images/s", process, log)
        try:
            process.wait(chance.uniform(0, options.seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            saving += bool(list(run.glob("checkpoints/*/.unfinished-*")))
            print(f"kill {kills} after {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
        else:
            if process.returncode:
                raise SystemExit(f"exit code {process.returncode}:\n{log.read_text()[-3000:]}")
            if kills < options.kills:  # the end came too early: more kills in another run
                runs.assert_same(run, folder / "whole")
                run.rename(folder / f"ended-after-{kills}-kills")
    runs.end(runs.command(run, flags, log), log)
    runs.assert_same(run, folder / "whole")
    text = log.read_text()
    print(
        json.dumps(
            {
                "kills": kills,
                "while a checkpoint was written": saving,
                "runs that came to their end": 1 + len(list(folder.glob("ended-after-*"))),
                "restarts from a checkpoint": len(re.findall("^restore ", text, re.MULTILINE)),
                "damaged checkpoints met": text.count("is damaged"),
                "date": time.strftime("%Y-%m-%d"),
            }
        )
    )


if __name__ == "__main__":
    main()
