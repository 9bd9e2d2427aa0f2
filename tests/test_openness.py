"""Networks that the package has never heard of, with one entry each, go everywhere that its own ones go."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import toy_networks
from helpers.commands import assert_same_states, read_state
from helpers.variables import random_variables
from PIL import Image

from esrgan_jax.cli.main import main
from esrgan_jax.system import parallel
from esrgan_jax.training.optimizers import Optimizer
from esrgan_jax.training.recipe import GanRecipe
from esrgan_jax.weights.architectures import ARCHITECTURES
from esrgan_jax.weights.convert import to_state_dict
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import load_discriminator_weights, load_generator_weights, load_model

ROOT = Path(__file__).resolve().parents[1]
GENERATOR = toy_networks.ToyNet(num_feat=5)


@pytest.fixture(autouse=True)
def registered():
    """Both networks are known in this module alone."""
    toy_networks.register_toys()
    yield
    for entry in (toy_networks.GENERATOR, toy_networks.DISCRIMINATOR):
        del ARCHITECTURES[entry.name]


@pytest.fixture
def model(tmp_path):
    """A .pth file of the generator."""
    variables = random_variables(GENERATOR)
    containers.write(tmp_path / "toy.pth", {"params_ema": to_state_dict(GENERATOR, variables)})
    return tmp_path / "toy.pth"


def test_convert_inspect_upscale(model, tmp_path, capsys):
    converted = tmp_path / "toy.safetensors"
    assert main(["convert", str(model), str(converted)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(converted), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["architecture"] == "ToyNet"
    assert report["fields"] == {"scale": 4, "num_feat": 5}

    picture = np.random.default_rng(0).integers(0, 256, (90, 150, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "small.png")
    words = ("upscale", tmp_path / "small.png", "-o", tmp_path / "large.png", "--model", converted)
    assert main([*map(str, words), "--tile", "64", "--overlap", "16"]) == 0
    module, variables = load_model(converted)
    whole = np.asarray(module.apply(variables, picture[None] / np.float32(255)))[0]
    tiled = np.asarray(Image.open(tmp_path / "large.png"))
    np.testing.assert_array_equal(tiled, np.rint(whole.clip(0, 1) * 255))


def test_three_gan_iterations_on_one_and_two_devices():
    results = []
    with jax.enable_x64(True):
        generator = GENERATOR.clone(param_dtype="float64")
        discriminator = toy_networks.ToyDiscriminator(axis_name=parallel.AXIS, param_dtype="float64")
        optimizer = Optimizer(lambda _: 1e-3)
        recipe = GanRecipe(generator, discriminator, optimizer, optimizer)
        for count in (1, 2):
            devices = jax.local_devices()[:count]
            params = random_variables(generator, 1, "float64")["params"]
            d_variables = random_variables(discriminator, 2, "float64")
            states = parallel.replicate(recipe.initial_states(0, params, None, d_variables), devices)
            iterate, metrics = recipe.build(devices), {}
            for k in (1, 2, 3):
                rng = np.random.default_rng(k)
                batch = {"lr": rng.random((4, 8, 8, 3)), "hr": rng.random((4, 32, 32, 3))}
                states, metrics = iterate(states, parallel.shard(batch, devices), k)
            results.append(jax.device_get((states, metrics)))
    (states, _), _ = results
    assert states["d"].model_state["seen"]["count"] == 3 * 5
    assert not np.array_equal(states["d"].model_state["spectral"]["u"], d_variables["spectral"]["u"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), *results)


def train(workdir, *, kill_at=None):
    """`python train.py` on the toy configuration; with `kill_at`, killed as soon as that line appears."""
    command = [sys.executable, "train.py", "--config=tests/helpers/toy_config.py", f"--workdir={workdir}"]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
        "ESRGAN_JAX_HOME": str(workdir.parent / "home"),
    }
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if kill_at and line.startswith(kill_at):
                process.send_signal(signal.SIGKILL)
    return process.returncode


def test_save_kill_resume_and_files(tmp_path):
    assert train(tmp_path / "whole") == 0
    assert train(tmp_path / "killed", kill_at="gan       8/") == -signal.SIGKILL
    saved = [
        int(path.name) for path in (tmp_path / "killed/checkpoints/gan").iterdir() if path.name.isdigit()
    ]
    assert 0 < max(saved) < 12
    assert train(tmp_path / "killed") == 0
    assert_same_states(tmp_path / "killed", tmp_path / "whole", "gan", "12")
    for folder in ("killed", "whole"):
        lines = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        assert lines == (tmp_path / "whole/metrics.jsonl").read_text().splitlines()

    # .pth out and in again.
    states = read_state(tmp_path / "whole/checkpoints/gan/12/state")
    module, params, ema = load_generator_weights(tmp_path / "whole/net_g_12.pth")
    assert isinstance(module, toy_networks.ToyNet)
    d_module, d_variables = load_discriminator_weights(tmp_path / "whole/net_d_12.pth")
    assert isinstance(d_module, toy_networks.ToyDiscriminator)
    found = {
        "g": [params, ema],
        "d": [d_variables["params"], {k: d_variables[k] for k in ("seen", "spectral")}],
    }
    expected = {
        "g": [states["g"]["params"], states["g"]["ema"]],
        "d": [states["d"]["params"], states["d"]["model_state"]],
    }
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert int(d_variables["seen"]["count"]) == 12 * 5
