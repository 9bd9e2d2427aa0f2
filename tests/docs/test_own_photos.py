"""docs/own_photos.md shows the plan as the program prints it, and pictures that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own_photos.md").read_text()


def printed_lines(function):
    """The lines that a function of own_photos.py returns as a list: patterns with a hole for each value."""
    tree = ast.parse((ROOT / "esrgan_jax" / "training" / "own_photos.py").read_text())
    (node,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    (lines,) = [
        node.value
        for node in ast.walk(node)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.List)
    ]
    for line in lines.elts:
        if isinstance(line, ast.JoinedStr):  # others come in some plans only
            yield "".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".*" for p in line.values)


def test_plan():
    (plan,) = re.findall(r"^```\n(photos .*?)^```", PAGE, re.M | re.S)
    patterns = list(printed_lines("plan"))
    assert len(patterns) > 5
    for pattern, line in zip(patterns, plan.splitlines(), strict=True):
        assert re.fullmatch(pattern, line), line


def test_pictures():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE)
    assert len(pictures) >= 2
    for name in pictures:
        assert (ROOT / "docs" / name).stat().st_size < 300_000
