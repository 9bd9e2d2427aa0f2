import subprocess
import sys
from pathlib import Path

import pytest
from helpers.variables import random_variables

import esrgan_jax
from esrgan_jax.cli import main as cli
from esrgan_jax.models import RRDBNet
from esrgan_jax.weights.save import save_generator


@pytest.fixture
def model(tmp_path):
    module = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2)
    params = random_variables(module)["params"]
    save_generator(tmp_path / "model.pth", module, params, params)
    return tmp_path / "model.pth"


def test_a_reader_that_has_enough_is_no_error(model):
    command = [sys.executable, "-m", "esrgan_jax.cli.main", "inspect", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == cli.BROKEN_PIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_sentence(model):
    command = [sys.executable, "-m", "esrgan_jax.cli.main", "inspect", model]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("words", [["check-data"], ["evaluate", "--model", "bicubic", "--hr"], ["inspect"]])
def test_a_path_that_cannot_be_needs_no_disk_space(words, tmp_path, capsys):
    assert cli.main([*words, str(tmp_path / ("x" * 300))]) in (1, 2)
    assert ": check the path" in capsys.readouterr().err


def test_version_loads_no_jax():
    script = (
        "import sys; from esrgan_jax.cli.main import main\n"
        "try: main(['--version'])\n"
        "finally: print({'jax', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"esrgan-jax {esrgan_jax.__version__}\nset()\n")
