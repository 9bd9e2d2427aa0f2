"""Two processes of two devices against one of four: the same numbers, a dead peer, and a change of machine.

python tests/soak/hosts.py FOLDER [--config.FIELD=VALUE ...]
"""

import argparse
import json
import socket
import time
from pathlib import Path

import runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    options, flags = parser.parse_known_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True)
    logs = [folder / f"process{process}.log" for process in range(2)]
    # Checkpoints before the kills; and short, because rounding of float32 grows from iteration to iteration.
    flags = ["--config.checkpoint_every=20", "--config.psnr.steps=200", "--config.gan.steps=20", *flags]

    def start_two(workdir: Path) -> list:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        return [
            runs.command(
                workdir,
                [
                    *flags,
                    "--config.num_devices=2",
                    f"--config.distributed.coordinator_address={address}",
                    "--config.distributed.num_processes=2",
                    f"--config.distributed.process_id={process}",
                ],
                logs[process],
            )
            for process in range(2)
        ]

    alone = [*flags, "--config.num_devices=4"]
    runs.end(runs.command(folder / "alone", alone, folder / "alone.log"), folder / "alone.log")
    for process, log in zip(start_two(folder / "two"), logs, strict=True):
        runs.end(process, log)
    result = {"two processes": worst(folder / "two", folder / "alone")}

    seconds = {}
    for victim in (1, 0):
        pair = start_two(folder / "killed")
        runs.wait_for("images/s", pair[0], logs[0], times=4)
        assert all(process.poll() is None for process in pair), logs[0].read_text()[-2000:]
        pair[victim].kill()
        start = time.perf_counter()
        code = pair[1 - victim].wait(120)
        seconds[f"process {victim} killed"] = round(time.perf_counter() - start, 1)
        assert code != 0
        assert "start all of them again" in logs[1 - victim].read_text().splitlines()[-1]
    result["seconds until the other one ended"] = seconds
    log = folder / "resumed.log"
    runs.end(runs.command(folder / "killed", alone, log), log)
    result["resumed by one process"] = worst(folder / "killed", folder / "alone")
    result["restored at"] = [line.split(": ")[0][10:] for line in runs_of(log, "restore ")]
    print(json.dumps(result | {"date": time.strftime("%Y-%m-%d")}))


def runs_of(log: Path, words: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if words in line] if log.exists() else []


def worst(folder: Path, expected: Path) -> dict[str, float]:
    """The largest relative difference of losses, and of scores in dB."""
    lines, others = (
        [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for path in (folder, expected)
    )
    assert [(line["stage"], line["iteration"]) for line in lines] == [
        (line["stage"], line["iteration"]) for line in others
    ]
    found = {"losses, relative": 0.0, "PSNR, dB": 0.0}
    for line, other in zip(lines, others, strict=True):
        for name, value in other.items():
            if name.startswith("l_"):
                difference = abs(line[name] - value) / abs(value)
                found["losses, relative"] = max(found["losses, relative"], difference)
            elif name == "psnr_y":
                found["PSNR, dB"] = max(found["PSNR, dB"], abs(line[name] - value))
    return {name: float(f"{value:.2g}") for name, value in found.items()}


if __name__ == "__main__":
    main()
