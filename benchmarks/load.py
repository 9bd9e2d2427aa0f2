"""How long a full-size weight file takes to become a model, and how much memory: python benchmarks/load.py.

One JSON line. The file is BasicSR's RRDBNet of 23 blocks in a .pth (67 MB), made here. Each measurement runs in a
process of its own after its imports; memory is the growth of the process at its peak, as a multiple of the file's
size. `torch.load` (with `load_state_dict`-ready tensors, `weights_only=True`) stands beside it where torch is
installed.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEASURE = """
import json, sys, time
from pathlib import Path

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

path = Path(sys.argv[1])
path.read_bytes()  # both find the file in the system's cache
{prepare}
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # start the peak anew
start = time.perf_counter()
{load}
seconds = time.perf_counter() - start
memory = (status("VmHWM") - before) / path.stat().st_size
print(json.dumps({{"seconds": round(seconds, 3), "peak_memory_x_size": round(memory, 2)}}))
"""

SUBJECTS = {
    "esrgan_jax": (
        "from esrgan_jax.weights.load import load_model",
        "module, variables = load_model(path)",
    ),
    "torch": ("import torch", "state_dict = torch.load(path, map_location='cpu', weights_only=True)"),
}


def main() -> None:
    """Makes the file, measures each subject five times, prints the medians."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "full.pth"
        _make(path)
        report: dict = {"benchmark": "load", "megabytes": round(path.stat().st_size / 1e6, 1)}
        for name, (prepare, load) in SUBJECTS.items():
            script = MEASURE.format(prepare=prepare, load=load)
            runs = []
            for _ in range(5):
                result = subprocess.run(
                    [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
                )
                if "No module named 'torch'" in result.stderr:
                    break
                result.check_returncode()
                runs.append(json.loads(result.stdout))
                time.sleep(0.2)
            if runs:
                report[name] = {key: sorted(run[key] for run in runs)[len(runs) // 2] for key in runs[0]}
        print(json.dumps(report))


def _make(path: Path) -> None:
    import numpy as np

    from esrgan_jax.models import RRDBNet
    from esrgan_jax.weights.convert import state_dict_shapes
    from esrgan_jax.weights.formats import containers

    rng = np.random.default_rng(0)
    shapes = state_dict_shapes(RRDBNet()).items()
    arrays = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes}
    containers.write(path, {"params_ema": arrays})


if __name__ == "__main__":
    main()
