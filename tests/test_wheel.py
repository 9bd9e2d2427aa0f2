"""What `pip install` brings: every module, the configurations, the types; and that it works away from a clone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, because setuptools leaves files in the folder and packs those of before."""
    source = tmp_path_factory.mktemp("source")
    for name in ("esrgan_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    code = "import setuptools.build_meta; setuptools.build_meta.build_wheel('dist')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (path,) = (source / "dist").glob("*.whl")
    return path


def test_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "esrgan_jax").rglob("*.py")}
    configs = {f"esrgan_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    assert names == modules | configs | {"esrgan_jax/py.typed"}


def test_configurations_from_an_empty_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "mine.py").write_text(
        "from configs import quickstart\ndef get_config():\n    return quickstart.get_config()\n"
    )
    code = (
        "import sys\n"
        "from esrgan_jax.cli.train import parse\n"
        "from esrgan_jax.training import config_files\n"
        f"assert config_files.FOLDER.is_relative_to({str(tmp_path)!r})\n"
        "for name in ('x2', 'x4:gan', '../mine.py'):\n"
        "    in_python = config_files.load_config(name)\n"
        "    assert parse(['train.py', '--config', name])[0].to_dict() == in_python.to_dict()\n"
        "    print(in_python.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("x2\nx4-gan\nquickstart\n", "")
