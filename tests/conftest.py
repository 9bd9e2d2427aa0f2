"""Eight CPU devices for every test, set before JAX starts."""

import gc
from collections.abc import Iterator

import jax
import pytest

from esrgan_jax import parallel

jax.config.update("jax_platforms", "cpu")
parallel.start_cpu_devices(8)


@pytest.fixture(autouse=True, scope="module")
def forget_what_was_compiled() -> Iterator[None]:
    """Frees a module's compiled code at its end.

    Each compiled function holds dozens of memory maps; Linux gives a process 65,530, and beyond them XLA aborts it.
    """
    yield
    jax.clear_caches()
    gc.collect()
