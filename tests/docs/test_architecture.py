"""docs/architecture.md and the code agree: files, rooms, who imports whom, and what an import does."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "esrgan_jax"
FACE = "esrgan_jax"
PAGE = (ROOT / "docs" / "architecture.md").read_text()

READ_THE_CONFIGURATION = {
    "cli/train.py",
    "training/configuration.py",
    "training/batch_size.py",
    "training/own_photos.py",
    "training/recipe.py",
    "training/run.py",
    # These take it from the command line or a file and hand it on.
    "training/config_files.py",
    "training/loop.py",
    "training/train.py",
}


def blocks() -> list[str]:
    return re.findall(r"^```\n(.*?)^```", PAGE, re.S | re.M)


def tree() -> set[Path]:
    """The paths in the tree: names stand before a run of spaces, inside the folder above that is indented less."""
    paths, parents = set(), [(-1, ROOT)]
    for line in blocks()[0].splitlines():
        match = re.match(r"( *)(\S+(?: \S+)*)(?:  |$)", line)
        assert match is not None, line
        indent, names = len(match[1]), match[2].split()
        if not all(re.fullmatch(r"[\w.]+(\.\w+|/)", name) for name in names):
            continue  # the rest of a description
        while parents[-1][0] >= indent:
            parents.pop()
        here = [parents[-1][1] / name for name in names]
        paths |= set(here)
        if names[-1].endswith("/"):
            parents.append((indent, here[-1]))
    return paths


def rooms() -> list[list[str]]:
    """The rooms by the order written down, those that may import first."""
    (order,) = [block for block in blocks() if block.startswith("cli ->")]
    return [level.split(", ") for level in order.strip().split(" -> ")]


def module_files() -> dict[str, Path]:
    names = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


@functools.cache
def syntax(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imported(file: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in it."""
    known = module_files()
    for node in ast.walk(syntax(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == FACE)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports are not used here"
            if node.module and node.module.split(".")[0] == FACE:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in known else node.module


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else FACE


def test_the_tree_names_what_exists():
    missing = [str(path.relative_to(ROOT)) for path in tree() if not path.exists()]
    assert not missing


def test_the_tree_names_every_folder_and_module():
    files = {file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"}
    folders = {file.parent for file in PACKAGE.rglob("__init__.py")}
    assert not {str(path.relative_to(ROOT)) for path in (files | folders) - tree()}


def test_every_file_in_the_text_exists():
    _, text = PAGE.split("## Who stands on whom", 1)
    named = set(re.findall(r"(?<![\w/])((?:[\w-]+/)*[\w-]+\.(?:py|md|toml|ya?ml))\b", text))
    assert len(named) > 20
    existing = [
        path.as_posix() for folder in ("esrgan_jax", "tests", "docs") for path in (ROOT / folder).rglob("*.*")
    ]
    existing += [path.as_posix() for path in ROOT.glob("*.*")] + [str(ROOT / "configs" / "base.py")]
    lost = {name for name in named if not any(path.endswith(f"/{name}") for path in existing)}
    assert lost <= {"utils.py"}  # which is not to be


def test_imports_point_down():
    level = {name: depth for depth, names in enumerate(rooms()) for name in names}
    assert set(level) == {room(name) for name in module_files()} - {FACE}
    up = []
    for name, file in module_files().items():
        for other in imported(file):
            if (
                FACE not in (name, other)
                and room(other) != room(name)
                and level.get(room(other), -1) <= level[room(name)]
            ):
                up.append(f"{name} imports {other}")
    assert not up


def test_only_the_version_is_taken_from_the_face():
    for name, file in module_files().items():
        if name != FACE and FACE in imported(file):
            of_the_face = [
                node.attr
                for node in ast.walk(syntax(file))
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == FACE
            ]
            assert set(of_the_face) == {"__version__"}, name


def test_no_module_imports_itself_in_a_circle():
    files = {name: file for name, file in module_files().items() if name != FACE}
    graphlib.TopologicalSorter({name: set(imported(file)) - {name} for name, file in files.items()}).prepare()


def test_the_configuration_is_read_in_few_files():
    readers = {
        file.relative_to(PACKAGE).as_posix()
        for file in module_files().values()
        if {"ConfigDict", "ml_collections"} & names_in(file)
    }
    assert readers <= READ_THE_CONFIGURATION


def test_networks_are_named_in_their_own_files_alone():
    (networks,) = [
        ast.literal_eval(node.value)
        for node in syntax(PACKAGE / "models" / "__init__.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    own = ("esrgan_jax.models", "esrgan_jax.weights.architectures", "esrgan_jax.weights.zoo")
    for name, file in module_files().items():
        if name != FACE and not name.startswith(own):
            assert not set(networks) & names_in(file), name


def names_in(file: Path) -> set[str]:
    """Names, attributes, imports and texts in the code of a file, docstrings left out."""
    names = set()
    for node in ast.walk(syntax(file)):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.alias):
            names.add(node.name.split(".")[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


@pytest.mark.parametrize(
    ("module", "before", "unchanged"),
    [
        ("esrgan_jax.runs.checkpoint", "import sys, logging, absl.logging", "sys.unraisablehook"),
        (
            "esrgan_jax.runs.checkpoint",
            "import sys, logging, absl.logging",
            "logging.getLogger('absl').level",
        ),
        (
            "esrgan_jax.runs.checkpoint",
            "import sys, logging, absl.logging",
            "logging.getLogger('absl').filters",
        ),
        ("esrgan_jax.imaging.rgb_files", "import PIL.Image", "PIL.Image.MAX_IMAGE_PIXELS"),
        ("esrgan_jax.imaging.read_picture", "import PIL.Image", "PIL.Image.MAX_IMAGE_PIXELS"),
    ],
)
def test_an_import_changes_nothing(module, before, unchanged):
    code = f"{before}\nfirst = {unchanged}\nimport {module}\nassert {unchanged} == first, {unchanged}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
