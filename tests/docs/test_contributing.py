"""CONTRIBUTING.md: its files, changes and tests work, one after the other, in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def replacements(diff: str) -> list[tuple[str, str]]:
    """Lines that go, with those that take their place."""
    parts = re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)*)", diff, re.M)
    return [tuple(re.sub(r"^[-+]", "", part, flags=re.M).rstrip("\n") for part in pair) for pair in parts]


def test_recipes(tmp_path):
    for name in ("configs", "esrgan_jax", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "goldens"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files: list[str] = []
    for language, name, text in re.findall(r"^```(python|diff)\n# (\S+)\n(.*?)^```", PAGE, re.M | re.S):
        file = tmp_path / name
        if language == "python":
            assert not file.exists(), name
            file.write_text(text)
        else:
            changed = file.read_text()
            for old, new in replacements(text):
                assert old in changed, f"{name} no longer has {old!r}"
                changed = changed.replace(old, new, 1)
            file.write_text(changed)
        files.append(name)
    assert len(re.findall(r"^```(?:python|diff)", PAGE, re.M)) == len(files)

    new = [name for name in files if not (ROOT / name).exists()]
    subprocess.run(["ruff", "check", *new], cwd=tmp_path, check=True)
    subprocess.run(["ruff", "format", "--check", *new], cwd=tmp_path, check=True)
    tests = [name for name in files if "test_" in name]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-o",
        "addopts=--import-mode=importlib",
        *tests,
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ground_rules_are_those_of_the_architecture():
    def table(text: str) -> str:
        return re.search(r"^\| new \| touches \|\n(?:\|.*\n)+", text, re.M)[0]

    assert table(PAGE) == table((ROOT / "docs" / "architecture.md").read_text())
