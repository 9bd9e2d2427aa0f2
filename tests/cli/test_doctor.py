"""`esrgan-jax doctor` tells what there is, and of nobody."""

import importlib.metadata
import json
import platform
import sys

import pytest

from esrgan_jax.cli.main import main
from esrgan_jax.system import diagnosis, probe
from esrgan_jax.system.probe import Start


@pytest.fixture
def start(monkeypatch):
    """A start of JAX that is not tried: the tests say how it went."""

    def went(works, text):
        monkeypatch.setattr(probe, "start_elsewhere", lambda: Start(works, text))

    return went


@pytest.fixture
def somebody(monkeypatch, tmp_path):
    """A person and a machine of unusual names, which all kinds of variables hold."""
    home = tmp_path / "balthasar"
    home.mkdir()
    for name in ("USER", "LOGNAME"):
        monkeypatch.setenv(name, "balthasar")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("ESRGAN_JAX_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name in ("JAX_COMPILATION_CACHE_DIR", "LD_LIBRARY_PATH", "JAX_NEW_SWITCH", "TFDS_DATA_DIR"):
        monkeypatch.setenv(name, f"{home}/inside")
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "obelisk:1234")
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to={home}")
    monkeypatch.setattr(platform, "node", lambda: "obelisk")
    return home


def test_names_nobody(start, somebody, capsys):
    start(False, f"exit code 1: OSError: {somebody}/lib/libtpu.so of balthasar on obelisk is broken")
    assert main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "balthasar" not in told
    assert "obelisk" not in told
    assert "exit code 1: OSError: .../libtpu.so of ... on ... is" in " ".join(told.split())
    assert "~/.cache/esrgan_jax, can be written" in told
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NEW_SWITCH", "XLA_FLAGS", "HOME"):
        assert f"\n  {name:<24} set\n" in told
    assert max(map(len, told.splitlines())) <= 80


def test_what_there_is(start, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("JAX_ENABLE_X64", "true")
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_b=false")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "file"))
    start(True, "2 gpu (Fast 9)")
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["starts"] is True
    assert report["devices"]["JAX"] == "2 gpu (Fast 9)"
    assert report["versions"]["Python"].startswith(platform.python_version())
    assert report["versions"]["numpy"] == importlib.metadata.version("numpy")
    assert report["space"]["cache"] == "outside of the home folder, cannot be written (File exists)"
    assert "working directory" in report["space"]["disk, free"]
    assert report["environment"]["JAX_ENABLE_X64"] == "true"
    assert report["environment"]["XLA_FLAGS"] == "--xla_a=1 --xla_b=false"
    assert report["limits"].keys() >= {"cores", "container"}


def test_every_package_that_is_needed_is_listed():
    listed = diagnosis.versions()
    needed = [text for text in importlib.metadata.requires("esrgan-jax") or [] if "extra ==" not in text]
    assert len(needed) > 10
    assert all(any(text.startswith(name) for name in listed) for text in needed)


def test_a_system_that_tells_little(start, monkeypatch, capsys):
    """As Windows: no resource, no sysconf, no affinity; and a working directory that is gone."""
    start(True, "1 cpu (cpu)")
    monkeypatch.setitem(sys.modules, "resource", None)
    for name in ("sysconf", "sched_getaffinity"):
        monkeypatch.delattr(diagnosis.os, name)
    monkeypatch.setattr(diagnosis.tempfile, "gettempdir", lambda: "/nowhere")
    assert main(["doctor"]) == 0
    assert "free for this process\n" in capsys.readouterr().out


def test_the_limits_of_a_container(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("1:cpu:/old\n0::/outer/inner\n")
    inner = tmp_path / "groups/outer/inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("4000000000\n")
    (inner / "cpu.max").write_text("150000 100000\n")
    assert list(diagnosis._container(tmp_path, tmp_path / "groups")) == ["memory 4.0 GB", "1.5 cores"]
    assert list(diagnosis._container(tmp_path / "none")) == []
