"""Eight CPU devices for every test, set before JAX starts."""

import gc
import os
from collections.abc import Iterator

import jax
import pytest

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
