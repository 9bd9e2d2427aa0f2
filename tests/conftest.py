"""Eight CPU devices for every test, set before JAX starts."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from esrgan_jax.system.devices import start_cpu_devices

jax.config.update("jax_platforms", "cpu")
start_cpu_devices(8)


@pytest.fixture(autouse=True, scope="module")
def forget_what_was_compiled() -> Iterator[None]:
    """Frees a module's compiled code at its end.

    Each compiled function holds dozens of memory maps; Linux gives a process 65,530, and beyond them XLA aborts it.
    """
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(autouse=True, scope="session")
def commands_compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands in processes of their own keep what they compile for each other, and nothing for the user's."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path_factory.mktemp("compiled"))
    yield
    del os.environ["JAX_COMPILATION_CACHE_DIR"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> Path:
    """No test reads or fills the user's cache."""
    home = tmp_path_factory.mktemp("cache") / "home"
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(home))
    return home


@pytest.fixture
def write_image() -> Callable[..., np.ndarray]:
    """Writes a picture of noise (or `image`) and returns it."""

    def write(path: Path, height: int = 24, width: int = 32, image: np.ndarray | None = None) -> np.ndarray:
        if image is None:
            seed = int.from_bytes(path.name.encode()) % 2**32
            image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        return image

    return write
