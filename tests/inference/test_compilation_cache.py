"""A second process finds in the cache what the first one compiled."""

import os
import subprocess
import sys

SCRIPT = """
import sys
sys.path.insert(0, "tests")
import jax, numpy as np
from esrgan_jax.system.devices import use_compilation_cache
from esrgan_jax.inference import Upscaler
from esrgan_jax.models import RRDBNet
from helpers.variables import random_variables

hits = []
listen = lambda event, **_: hits.append(event) if event.endswith("/cache_hits") else None
jax.monitoring.register_event_listener(listen)
use_compilation_cache()
module = RRDBNet(num_feat=8, num_block=1, num_grow_ch=4)
Upscaler(module, random_variables(module)["params"])(np.zeros((5, 6, 3), np.uint8))
print(len(hits))
"""


def run(home, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"ESRGAN_JAX_HOME": str(home), "JAX_PLATFORMS": "cpu"} | variables
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_second_process_compiles_nothing(tmp_path):
    first, second = run(tmp_path), run(tmp_path)
    assert (first.returncode, first.stdout) == (0, "0\n"), first.stderr
    assert (second.returncode, second.stdout) == (0, "1\n"), second.stderr
    assert list((tmp_path / "xla").iterdir())


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run(tmp_path / "file")
    assert (result.returncode, result.stdout) == (0, "0\n"), result.stderr


def test_nor_is_a_folder_of_the_users(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run(
        tmp_path, JAX_COMPILATION_CACHE_DIR=tmp_path / "file/x", JAX_RAISE_PERSISTENT_CACHE_ERRORS="1"
    )
    assert (result.returncode, result.stdout) == (0, "0\n"), result.stderr
    assert "Unset JAX_COMPILATION_CACHE_DIR" in result.stderr
    assert not (tmp_path / "xla").exists()
