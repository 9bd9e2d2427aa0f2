"""What a training patch costs the CPU, and whether memory stays flat: python benchmarks/loader.py [FOLDER].

One JSON line. FOLDER holds HR pictures; without one, six pictures of 2040 x 1356 are put together from the photos
embedded in scikit-image, as PNG. Every subject draws pairs of 128 and 32 pixels, 16 in a batch, in a process of its
own, three times by turns; the medians are reported:

  full               the PNG files, LR from the cache on disk; every patch decodes its picture
  full_in_memory     the same with the decoded pictures in memory, as far as they fit, after the first epoch
  prepared           sub-images of 480 pixels by `esrgan-jax prepare`, every one decoded
  prepared_in_memory the same with the decoded sub-images in memory
  embedded           the photos of --config.data.train=sample
  torch_0, torch_2   a PyTorch DataLoader with 0 and 2 workers that reads the same sub-images as BasicSR does: PNG
                     files of HR and LR decoded by OpenCV, float32, crop, flips, RGB, tensors

cpu_ms is processor time a patch of all threads and processes, start and end of workers included; patches_per_s is by
the clock. memory: resident memory while so many patches are drawn, from the first tenth on, and the slope of a
straight line through it. What is done shows on stderr; on two quiet cores it takes about six minutes.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GT_SIZE, SCALE, BATCH = 128, 4, 16
ROUNDS = 3
MEMORY = {"prepared_in_memory": 100_000, "prepared": 20_000}  # patches
SUBJECTS = {  # patches that are measured
    "full": 160,
    "full_in_memory": 8000,
    "prepared": 1600,
    "prepared_in_memory": 8000,
    "embedded": 8000,
    "torch_0": 800,
    "torch_2": 800,
}


def main() -> None:
    """Makes the files, measures, prints the line."""
    if len(sys.argv) == 5:
        what, subject, folder, patches = sys.argv[1:]
        measure = _memory if what == "memory" else _speed
        print(json.dumps(measure(subject, Path(folder), int(patches))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ESRGAN_JAX_HOME"] = str(folder / "home")
        pictures = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else _make_pictures(folder / "hr")
        if not (folder / "hr").exists():
            (folder / "hr").symlink_to(pictures)
        prepare = ("-m", "esrgan_jax.cli.main", "prepare", str(folder / "hr"))
        _run([sys.executable, *prepare, "--data-dir", str(folder / "sets"), "--name", "bench"])
        report: dict[str, Any] = {"benchmark": "loader", "cores": len(os.sched_getaffinity(0))}
        report |= _write_sub_images(folder)
        runs: dict[str, list[dict[str, float]]] = {}
        for _ in range(ROUNDS):
            for subject, patches in SUBJECTS.items():
                if subject.startswith("torch") and not _has_torch():
                    continue
                runs.setdefault(subject, []).append(_in_a_process("speed", subject, folder, patches))
        for subject, results in runs.items():
            report[subject] = {
                key: statistics.median(result[key] for result in results) for key in results[0]
            }
        if "torch_0" in report:
            torch_ms = min(report["torch_0"]["cpu_ms"], report["torch_2"]["cpu_ms"])
            report["times_less_cpu_than_torch"] = {
                subject: round(torch_ms / report[subject]["cpu_ms"], 2)
                for subject in runs
                if not subject.startswith("torch")
            }
        report["memory"] = {
            subject: _in_a_process("memory", subject, folder, patches) for subject, patches in MEMORY.items()
        }
        print(json.dumps(report))


def _has_torch() -> bool:
    import importlib.util

    return importlib.util.find_spec("torch") is not None


def _in_a_process(what: str, subject: str, folder: Path, patches: int) -> dict[str, float]:
    line = _run([sys.executable, __file__, what, subject, str(folder), str(patches)])
    print(f"{what} {subject} {line}", end="", file=sys.stderr)
    return json.loads(line)


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr}")
    return result.stdout


def _make_pictures(folder: Path) -> Path:
    """Mosaics of real photographs at their real sharpness, for the effort of decoding depends on it."""
    import numpy as np

    from esrgan_jax.data.samples import SampleSource
    from esrgan_jax.imaging.rgb_files import write_png

    photos = [
        pair["hr"] for split in ("train", "validation") for pair in map(dict, _pairs(SampleSource(split, 1)))
    ]
    rng = random.Random(0)
    for number in range(6):
        picture = np.empty((1356, 2040, 3), np.uint8)
        for top in range(0, 1356, 300):
            for left in range(0, 2040, 300):
                photo = rng.choice(photos)
                height, width = min(300, 1356 - top), min(300, 2040 - left)
                y, x = rng.randint(0, photo.shape[0] - height), rng.randint(0, photo.shape[1] - width)
                picture[top : top + height, left : left + width] = photo[y : y + height, x : x + width]
        write_png(folder / f"{number}.png", picture)
    return folder


def _pairs(source: Any) -> Iterator[Any]:
    return (source[index] for index in range(len(source)))


def _prepared(folder: Path, **options: Any) -> Any:
    from esrgan_jax.data.tfds import TfdsSource

    return TfdsSource("bench", "train", SCALE, folder / "sets", **options)


def _write_sub_images(folder: Path) -> dict[str, Any]:
    """The sub-images as BasicSR's script leaves them: PNG files of compression level 3."""
    import cv2

    source = _prepared(folder, memory_bytes=0)
    for index, pair in enumerate(_pairs(source)):
        for kind, image in pair.items():
            path = folder / "sub" / kind / f"{index:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
    sizes = [path.stat().st_size for path in (folder / "sub").rglob("*.png")]
    records = [path.stat().st_size for path in (folder / "sets").rglob("*array_record*")]
    return {
        "sub_images": len(source),
        "kilobytes_a_pair": {
            "prepared": round(sum(records) / len(source) / 1e3),
            "png_files": round(sum(sizes) / len(source) / 1e3),
        },
    }


def _speed(subject: str, folder: Path, patches: int) -> dict[str, float]:
    """Draws so many patches; the files are in the system's cache, what is compiled or imported is ready."""
    if subject.startswith("torch"):
        batches = _torch_batches(folder, patches + BATCH, workers=int(subject[-1]))
    else:
        batches, warm_up = _our_batches(subject, folder)
        for _ in range(warm_up):
            next(batches)
    next(batches)
    cpu, clock = _cpu_seconds(), time.perf_counter()
    for _ in range(patches // BATCH):
        next(batches)
    clock = time.perf_counter() - clock
    batches.close()  # ends threads and workers, whose time counts from then on
    cpu = _cpu_seconds() - cpu
    return {"cpu_ms": round(cpu / patches * 1e3, 3), "patches_per_s": round(patches / clock)}


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _our_batches(subject: str, folder: Path) -> tuple[Any, int]:
    """An iterator, and how many batches fill caches and memory."""
    from esrgan_jax.data.folder import FolderSource
    from esrgan_jax.data.pipeline import make_train_iterator
    from esrgan_jax.data.samples import SampleSource

    memory = {} if subject.endswith("in_memory") else {"memory_bytes": 0}
    source: Any
    if subject.startswith("full"):
        source = FolderSource(folder / "hr", scale=SCALE, **memory)
        [source[index] for index in range(len(source))]  # shrinks them into the cache on disk
    elif subject == "embedded":
        source = SampleSource("train", SCALE)
    else:
        source = _prepared(folder, **memory)
    batches = make_train_iterator(source, scale=SCALE, gt_size=GT_SIZE, batch_size=BATCH, seed=0)
    return batches, 3 * len(source) // BATCH if memory == {} else 2


def _torch_batches(folder: Path, patches: int, workers: int) -> Iterator[Any]:
    import cv2
    import numpy as np
    import torch

    paths = sorted((folder / "sub/hr").iterdir())

    def read(path: Path) -> np.ndarray:
        return (
            cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR).astype(np.float32)
            / 255
        )

    class SubImages(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return patches

        def __getitem__(self, index: int) -> dict[str, Any]:
            path = paths[index % len(paths)]
            hr, lr = read(path), read(folder / "sub/lr" / path.name)
            side = GT_SIZE // SCALE
            y, x = random.randint(0, lr.shape[0] - side), random.randint(0, lr.shape[1] - side)
            images = [
                lr[y : y + side, x : x + side],
                hr[y * SCALE : y * SCALE + GT_SIZE, x * SCALE : x * SCALE + GT_SIZE],
            ]
            flip_x, flip_y, transpose = (random.random() < 0.5 for _ in range(3))
            tensors = []
            for image in images:
                if flip_x:
                    image = cv2.flip(image, 1)
                if flip_y:
                    image = cv2.flip(image, 0)
                if transpose:
                    image = image.transpose(1, 0, 2)
                rgb = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2RGB)
                tensors.append(torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).float())
            return {"lq": tensors[0], "gt": tensors[1]}

    loader = torch.utils.data.DataLoader(SubImages(), BATCH, shuffle=True, num_workers=workers)
    yield from loader


def _memory(subject: str, folder: Path, patches: int) -> dict[str, float]:
    """Resident megabytes, and the slope of a straight line through them."""
    import numpy as np

    batches, _ = _our_batches(subject, folder)
    drawn, resident = [], []
    for number in range(1, patches // BATCH + 1):
        next(batches)
        if number * BATCH >= patches // 10 and number % 10 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            drawn.append(number * BATCH)
            resident.append(pages * resource.getpagesize() / 1e6)
    slope = float(np.polyfit(drawn, resident, 1)[0])
    return {
        "patches": patches,
        "megabytes_least": round(min(resident), 1),
        "megabytes_most": round(max(resident), 1),
        "megabytes_per_100000_patches": round(slope * 100_000, 2),
    }


if __name__ == "__main__":
    main()
