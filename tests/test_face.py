"""What `import esrgan_jax` offers: at once, lazily, and with types."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import esrgan_jax

ROOT = Path(__file__).parents[1]


def run_python(script):
    words = [sys.executable, "-c", script]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_importing_it_takes_no_time_and_loads_nothing_heavy():
    script = (
        "import sys, time; start = time.perf_counter(); import esrgan_jax; print(time.perf_counter() - start);"
        "print({'jax', 'jaxlib', 'flax', 'numpy', 'PIL'} & set(sys.modules))"
    )
    outputs = [run_python(script).split() for _ in range(3)]
    assert {loaded for _, loaded in outputs} == {"set()"}
    assert min(float(seconds) for seconds, _ in outputs) < 0.3


def test_planning_what_to_upscale_loads_no_jax():
    script = "import sys, esrgan_jax.inference.batch.tasks; print({'jax', 'flax'} & set(sys.modules))"
    assert run_python(script) == "set()\n"


@pytest.mark.parametrize("name", esrgan_jax.__all__)
def test_every_name_is_there(name):
    value = getattr(esrgan_jax, name)
    assert name == "__version__" or value.__name__ == name
    assert name in dir(esrgan_jax)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'esrgan_jax' has no attribute 'Trainer'"):
        _ = esrgan_jax.Trainer


def test_version(monkeypatch):
    """From the metadata, or in a checkout that is not installed from pyproject.toml."""
    assert esrgan_jax.__version__ == importlib.metadata.version("esrgan-jax")

    def missing(name):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert f'\nversion = "{esrgan_jax.__version__}"\n' in (ROOT / "pyproject.toml").read_text()


RIGHT = """
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from PIL import Image

import esrgan_jax
from esrgan_jax import GanRecipe, PixelRecipe, RRDBNet, Upscaler, VGGStyleDiscriminator, load_model, train
from esrgan_jax.training.optimizers import Optimizer, multistep_schedule


class Twice(nn.Module):
    scale: int = 2
    num_in_ch: int = 3
    num_out_ch: int = 3
    dtype: Any = None
    unshuffle: int = 1
    receptive_radius: int = 0
    example_shape: tuple[int, ...] = (1, 4, 4, 3)

    def live_bytes(self, value_bytes: int) -> tuple[int, int]:
        return 0, value_bytes

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        return x.repeat(2, axis=1).repeat(2, axis=2)


module, variables = load_model("RealESRGAN_x4plus", key="params_ema")
upscaler = Upscaler(module, variables["params"], tile=256)
upscaler = Upscaler(Path("model.pth"), dtype="bfloat16", ensemble=True)
upscaler = Upscaler(Twice(), {}, overlap="exact")
upscaler = Upscaler.from_file("model.pth", key="params")
image: Image.Image = upscaler("a.png", progress=True)
image = upscaler(image, outscale=2.5, progress=lambda done, total: print(done / total))
array: np.ndarray = upscaler(np.zeros((8, 8, 3), np.uint8))
several: list[Image.Image] = upscaler([Path("a.png"), image])
scores: dict[str, float] = train("quickstart", "runs/quick", seed=1)
pixel = PixelRecipe(RRDBNet(), Optimizer(multistep_schedule(2e-4, [1000])))
gan = GanRecipe(Twice(), VGGStyleDiscriminator(), pixel.optimizer_g, pixel.optimizer_g, net_d_iters=2)
print(gan.rates(1)["lr_g"] + 1, esrgan_jax.__version__.upper())
"""

WRONG = """
import numpy as np

import esrgan_jax
from esrgan_jax import GanRecipe, RRDBNet, Upscaler, VGGStyleDiscriminator, load_model, train

Upscaler(3)  # wrong
upscaler = Upscaler("model.pth", overlap="some")  # wrong
upscaler("a.png", outscale="2")  # wrong
upscaler("a.png", lambda done, total: None)  # wrong
upscaler(np.zeros((8, 8, 3))).save("a.png")  # wrong
load_model("model.pth", "params")  # wrong
train("x4", 3)  # wrong
GanRecipe(VGGStyleDiscriminator(), RRDBNet(), None, None)  # wrong
print(esrgan_jax.Trainer)  # wrong
"""


def test_types_of_a_program_that_uses_it(tmp_path):
    """A program of a user under mypy's strict rules: what is right passes, what is wrong is seen."""
    for name, text in (("right.py", RIGHT), ("wrong.py", WRONG)):
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "right.py", "wrong.py"],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    found = re.findall(r"^(\w+\.py):(\d+): error", done.stdout, re.MULTILINE)
    wrong = [number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")]
    assert sorted({(name, int(line)) for name, line in found}) == [("wrong.py", line) for line in wrong], (
        done.stdout + done.stderr
    )
