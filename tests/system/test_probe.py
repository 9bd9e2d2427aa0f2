"""JAX started elsewhere: what works, what fails in Python, in C++, and what never ends."""

import pytest

from esrgan_jax.system.probe import start_elsewhere


@pytest.fixture
def fake_jax(tmp_path, monkeypatch):
    """Puts a module of the name jax in front of the real one, for other processes."""

    def write(code):
        (tmp_path / "jax.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return write


def test_devices(fake_jax):
    fake_jax(
        "from types import SimpleNamespace as Any\n"
        "devices = lambda: [Any(platform='gpu', device_kind='Fast 9')] * 2\n"
        "numpy = Any(ones=lambda n: n)\n"
        "block_until_ready = print\n"
    )
    start = start_elsewhere()
    assert (start.works, start.text) == (True, "2 gpu (Fast 9)")


@pytest.mark.parametrize(
    "code, told",
    [
        ("raise RuntimeError('no driver')", "exit code 1: RuntimeError: no driver"),
        ("import os; os.write(2, b'F0101 \\xff broken'); os.abort()", "signal 6: F0101 \\xff broken"),
        ("import os; os._exit(3)", "exit code 3: no message"),
    ],
)
def test_what_does_not_start(fake_jax, code, told):
    fake_jax(code)
    start = start_elsewhere()
    assert (start.works, start.text) == (False, told)


def test_what_never_ends(fake_jax):
    fake_jax("import time; time.sleep(1000)")
    start = start_elsewhere(patience=0.5)
    assert (start.works, start.text) == (False, "nothing within 0 s")


def test_variables_that_are_left_out(fake_jax, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "abacus")
    fake_jax("import os; raise ValueError(os.environ.get('JAX_PLATFORMS'))")
    assert start_elsewhere().text.endswith("ValueError: abacus")
    assert start_elsewhere(without=["JAX_PLATFORMS"]).text.endswith("ValueError: None")
