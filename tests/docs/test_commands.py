"""Every command that the project shows works: in pages, docstrings, help, messages and what runs print.

A new one is found by itself. Each text is run in a fresh copy of a small world (helpers/command_world.py), and so are
the commands that it prints meanwhile. Scripts (benchmarks, soak tests, goldens) read their arguments and no more.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import jax
import pytest
from helpers import command_world, printed_commands
from helpers.command_world import ROOT, CommandError, World
from helpers.printed_commands import HOLE, Printed

from configs import base
from esrgan_jax.cli.main import COMMANDS
from esrgan_jax.errors import UserError
from esrgan_jax.training import configuration

# How ml_collections loads a file; Python only shows it to people who ask for such warnings.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")

FILES = [
    path
    for pattern in (
        "README.md",
        "*.md",
        "docs/**/*.md",
        "docs/**/*.rst",
        "train.py",
        "configs/*.py",
        "esrgan_jax/**/*.py",
        "benchmarks/*",
        "tests/soak/*.py",
        "tests/reference/*.py",
    )
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
]

PLACEHOLDERS = {
    "tests/soak/NAME.py": "tests/soak/kills.py",
    "--lr-template NAME": "--lr-template {name}",
    "--config.FIELD=VALUE": "--config.seed=1",
    "COMMAND": "upscale",
    "CASE": "gan_default",
    "FILE": "quickstart",
    "FOLDER": "photos",
    "MODEL": "model.pth",
    "PHOTO": "photo.jpg",
    "N": "64",
}

EXEMPT = {
    r"pip install pre-commit": "a package of others",
    r"pre-commit install": "changes the clone",
    r"\.ci/run": "runs this test",
    r"ruff (format|check) \.|mypy|sphinx-build -W --keep-going docs/api build/api": ".ci/run runs it",
    r"python3 -m venv \.venv": "the shell ran it",
}
"""Calls that are not run, and why."""

SITUATIONS = (
    "esrgan-jax --help",
    "python train.py --help",
    *(f"esrgan-jax {name.replace('_', '-')} --help" for name in COMMANDS),
    "esrgan-jax train 'My Photos' --hours 2",
    "esrgan-jax prepare 'My Photos' --data-dir 'my sets'",
    "esrgan-jax prepare HR --lr LR --scale 2 --data-dir sets",
    "esrgan-jax prepare HR --scale 1 --name same --data-dir sets",
)
"""Where programs print commands: names with spaces, other scales."""


def collect() -> list[Printed]:
    found = [
        one for path in FILES for one in printed_commands.in_file(path, path.relative_to(ROOT).as_posix())
    ]
    found += [Printed("situation", script) for script in SITUATIONS]
    first: dict[str, Printed] = {}
    for one in found:
        first.setdefault(one.script, one)
    return list(first.values())


PRINTED = collect()
SHOWN: list[str] = []  # the commands that were printed so far
RAN: set[str] = set()
DONE: set[Printed] = set()


@pytest.fixture(scope="module")
def trained():
    return set()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch, command_world.stand_ins(folder / "published", patch):
        patch.setenv("ESRGAN_JAX_HOME", str(folder / "home"))
        jax.config.update("jax_disable_most_optimizations", True)  # compiles in less time
        command_world.build(folder / "world")
        yield folder / "world"
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def world(template, trained, tmp_path):
    shutil.copytree(template, tmp_path / "world", symlinks=True)
    return World(tmp_path / "world", trained)


def run(world: World, printed: Printed, folder: Path | None = None) -> None:
    """Run a text in a world or a folder of it, and after each of its programs the commands that this one printed.

    Raises:
      CommandError: one of them does not work.
    """
    script = printed.script + " --help" * printed.mention
    for word, value in PLACEHOLDERS.items():
        script = re.sub(rf"(?<![\w/]){re.escape(word)}(?!\w)", value, script)
    whole = re.sub(r"(?<=[\w\]])\.\.\.| \.\.\.(?=\])", "", script)
    if whole in RAN:
        return
    RAN.add(whole)
    short = re.sub(r" \[[-\w][^\]]*\]|\[:[^\]]*\]", "", whole)  # without what is optional
    output = ""
    for call in command_world.record(world.folder, short, folder):
        if not any(re.fullmatch(pattern, call.text) for pattern in EXEMPT):
            output = world.run(call, output)
            follow(world, output, printed.place)


def follow(world: World, output: str, place: str) -> None:
    for printed in printed_commands.in_output(output, f"printed by {place}"):
        SHOWN.append(printed.script)
        run(world, printed)
    while world.pages:
        page = world.pages.pop()
        shutil.copy(world.folder / "photo.jpg", page.parent)
        for printed in printed_commands.in_file(page, page.name):
            SHOWN.append(printed.script)
            run(world, printed, page.parent)


@pytest.mark.parametrize(
    "printed", PRINTED, ids=lambda printed: f"{printed.place} {printed.script.splitlines()[0][:60]}"
)
def test_command(printed, world):
    DONE.add(printed)
    run(world, printed)


def test_what_programs_print_with_values_was_seen():
    """An f-string with a command needs a situation that shows it, so that it is run."""
    if len(DONE) < len(PRINTED):
        pytest.skip("needs all tests of this file")
    for path in FILES:
        if path.is_relative_to(ROOT / "esrgan_jax"):
            for script in printed_commands.with_values(path):
                pattern = ".*".join(map(re.escape, script.split(HOLE)))
                assert any(re.fullmatch(pattern, shown) for shown in SHOWN), (
                    f"{path}: add to SITUATIONS: {script!r}"
                )


def test_every_exemption_is_needed(tmp_path):
    text = "\n".join(printed.script for printed in PRINTED)
    for pattern in EXEMPT:
        assert re.search(pattern, text), f"nothing matches {pattern}"
    for word in PLACEHOLDERS:
        assert word in text, f"{word} is used nowhere"


BROKEN = {
    "esrgan-jax upscale photo.jpg -o large.png --modle model.pth": "--model",
    "esrgan-jax upscale nowhere.jpg -o large.png --model model.pth": "nowhere.jpg does not exist",
    "esrgan-jax upscale photo.jpg -o large.png --model RealESRGAN_x5plus": "RealESRGAN_x5plus does not exist",
    "esrgan-jax enlarge photo.jpg": "invalid choice",
    "python train.py --config configs/x5.py": "no configuration configs/x5.py",
    "python train.py --config quickstart --config.psnr.batchsize=2": "batchsize",
    "python train.py --config x4 --config.data.train=photos": "perceptual loss needs",
    "python train.py --config x4:psnr --config.data.train=tfds:none": "TFDS knows no data set",
    "python train.py --config quickstart --config.distributed.num_processes=3": "must be divisible",
    "python train.py --config.seed=1": "config.seed",
    "esrgan-jax train photo --hours 2": "photo is not a folder",
    "esrgan-jax evaluate --model bicubic --hr Set6": "Set6",
    "esrgan-jax inspect model.pth --json | jq .fields[": "jq",
    "python benchmarks/train_step.py --batches 4": "--batches",
    "python benchmarks/gone.py": "there is no benchmarks/gone.py",
    "python -m tests.reference.make_network_goldens --compare": "--compare",
    "pytest tests/training/test_nothing.py": "test_nothing.py",
    'pip install -e ".[gpu]"': "there is no extra gpu",
    "pip install esrgan-jax": "is not this project",
    "pip install 'esrgan-jax[gpu]'": "there is no extra gpu",
    "pip install -c versions.txt -e .": "versions.txt",
    "pyhton train.py --config quickstart": "command not found",
    "esrgan-jax upscale 'photo.jpg -o large.png --model model.pth": "unexpected EOF",
}


@pytest.mark.parametrize("script", BROKEN)
def test_broken_commands_fail(script, template):
    if "tests.reference" in script:
        pytest.importorskip("torch")  # without it the runner cannot look into them
    with pytest.raises((CommandError, UserError, OSError), match=re.escape(BROKEN[script])):
        run(World(template), Printed("here", script))


def test_commands_are_found(tmp_path):
    (tmp_path / "page.md").write_text(
        "Run `esrgan-jax models` or\n`pip install\n-e .`, not `x = 1`.\n\n```sh\n# both\npython train.py \\\n"
        "  --config x4\npytest\n```\n\n```\npython -m a\n```\n\n```\ntrain.py  a file\n```\n\n"
        "```yaml\ncommand: [python, train.py,\n  --config]\n```\n\n```python\n'`pytest -x`'\n```\n"
    )
    found = [
        (one.place, one.script, one.mention) for one in printed_commands.in_file(tmp_path / "page.md", "page")
    ]
    assert found == [
        ("page:6", "# both\npython train.py \\\n  --config x4\npytest", False),
        ("page:13", "python -m a", False),
        ("page:21", "python train.py --config", False),
        ("page:1", "esrgan-jax models", True),
        ("page:2", "pip install -e .", False),
    ]
    (tmp_path / "module.py").write_text(
        '"""First.\n\nCommand:  esrgan-jax models --json\n          esrgan-jax inspect a.pth\n\n'
        'usage: python train.py [--config]\n       python train.py -h\n"""\n'
        'print(f"next  esrgan-jax upscale {a} -o {b}")\n'
        'print(f"esrgan-jax upscale: {c}, see esrgan-jax convert.")\n'
        'raise ValueError(f"no {module} (pip install -e .)")\n'
    )
    found = printed_commands.in_file(tmp_path / "module.py", "module")
    assert {(one.script, one.mention) for one in found} == {
        ("esrgan-jax models --json\nesrgan-jax inspect a.pth", False),
        ("esrgan-jax convert", True),
        ("pip install -e .", False),
    }
    assert printed_commands.with_values(tmp_path / "module.py") == [f"esrgan-jax upscale {HOLE} -o {HOLE}"]
    with pytest.raises(ValueError, match="needs backticks"):
        printed_commands.in_output("Try esrgan-jax convert --help for more.", "a run")


def test_fields_exist():
    """Every `--config.FIELD` that is named anywhere."""
    fields = configuration.flatten(base.get_config().to_dict())
    for path in FILES:
        for name in re.findall(r"--config\.([a-z_0-9.]*[a-z_0-9])(?=[=`. )]|$)", path.read_text()):
            assert any(f"{field}.".startswith(f"{name}.") for field in fields), (
                f"{path} names the field {name}"
            )
