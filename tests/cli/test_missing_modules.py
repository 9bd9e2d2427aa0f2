"""What works where modules are missing that Windows does not have: all but training and preparing sets."""

import ast
import subprocess
import sys

import numpy as np
from helpers.commands import PATIENCE, ROOT
from PIL import Image

from esrgan_jax.models import RRDBNet
from esrgan_jax.models.network import initial_variables
from esrgan_jax.weights.save import save_generator

BLOCK = """
import sys
class Missing:
    names = {"fcntl", "resource", "array_record", "grain", "orbax", "tensorstore", "tensorflow_datasets"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
for name in Missing.names & set(sys.modules):
    del sys.modules[name]
sys.meta_path.insert(0, Missing())
"""


def python(code, folder):
    return subprocess.run(
        # A lock of files, which torch brings, warns that it has no fcntl.
        [sys.executable, "-W", "ignore", "-c", BLOCK + code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_with_jax_alone(tmp_path):
    """As on machines that are lent for an hour: recipes by hand and the strips of an upscaler."""
    more = (
        "cv2",
        "PIL",
        "tqdm",
        "scipy",
        "skimage",
        "matplotlib",
        "tifffile",
        "tensorboardX",
        "ml_collections",
    )
    done = python(
        f"Missing.names |= {set(more)}\n"
        "import numpy as np\n"
        "from esrgan_jax.inference.upscaler import Upscaler\n"
        "from esrgan_jax.models import RRDBNet\n"
        "from esrgan_jax.models.network import initial_variables\n"
        "from esrgan_jax.training.optimizers import Optimizer, multistep_schedule\n"
        "from esrgan_jax.training.recipe import PixelRecipe\n"
        "module = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2)\n"
        "PixelRecipe(module, Optimizer(multistep_schedule(1e-4, ()))).build()\n"
        "upscaler = Upscaler(module, initial_variables(module, 0)['params'])\n"
        "assert next(upscaler.strips(np.zeros((5, 6, 3), np.uint8)))[1].shape == (20, 24, 3)\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_commands(tmp_path):
    module = RRDBNet(scale=2, num_feat=4, num_block=1, num_grow_ch=2)
    params = initial_variables(module, seed=0)["params"]
    save_generator(tmp_path / "a.pth", module, params, params)
    save_generator(tmp_path / "b.pth", module, params, params)
    (tmp_path / "hr").mkdir()
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(tmp_path / "hr/p.png")
    commands = (
        "upscale hr/p.png -o large.png --model a.pth",
        "convert a.pth a.safetensors",
        "inspect a.pth",
        "interpolate a.pth b.pth --alpha 0.5 -o c.pth",
        "evaluate --model c.pth --hr hr",
        "check-data hr --gt-size 16",
        "models",
    )
    done = python(
        "from esrgan_jax.cli.main import main\n"
        f"for command in {commands}:\n"
        "    assert main(command.split()) == 0, command\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for name in ("large.png", "a.safetensors", "c.pth"):
        assert (tmp_path / name).exists(), name


def test_training_says_what_it_needs(tmp_path):
    code = (
        "sys.argv = ['train.py', '--config', 'quickstart']\n"
        "from types import SimpleNamespace\n"
        "from esrgan_jax.cli.train import main\n"
        "from esrgan_jax.training import train\n"
        "train.sys = SimpleNamespace(platform={platform!r})\n"
        "sys.exit(main())\n"
    )
    for platform, way_out in (("win32", "train in WSL 2"), ("linux", "install the project again")):
        done = python(code.format(platform=platform), tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(
            f"train.py: Training needs the module resource, which is missing: {way_out}"
        )
        assert done.stderr.count("\n") == 1


def test_preparing_says_what_it_needs(tmp_path):
    (tmp_path / "hr").mkdir()
    Image.fromarray(np.zeros((96, 96, 3), np.uint8)).save(tmp_path / "hr/p.png")
    code = (
        "Missing.names = {'fcntl', 'array_record'}\n"  # the others have wheels for Windows
        "from esrgan_jax.cli.main import main\n"
        "sys.exit(main('prepare hr --data-dir sets'.split()))\n"
    )
    done = python(code, tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "prepare: Preparing a set needs the module fcntl, which Windows does not have" in done.stderr


def test_what_windows_does_not_have_is_not_imported_at_the_top():
    """Except inside of `try`."""
    for file in (ROOT / "esrgan_jax").rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {"fcntl", "resource", "pwd", "grp", "termios", "pty", "array_record"} & set(names), (
                file
            )
