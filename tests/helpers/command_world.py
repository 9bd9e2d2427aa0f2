"""A small world in which every printed command can be run: pictures, sets, weights, a run; and how it is run there.

A shell takes the text apart: programs are stand-ins that write down how they were called. Then each is run in this
process, with arguments added at the end that make it small. One command with both stages trains,
and one with a folder; the others end where the first iteration would begin: configuration, data and weights are open.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from helpers import div2k_zips, weight_files
from helpers.commands import write_picture
from helpers.web import FolderServer, serve
from PIL import Image
from reference import weights

from esrgan_jax.cli import main as cli
from esrgan_jax.cli import train as train_command
from esrgan_jax.models import vgg_features
from esrgan_jax.system.download import sha256
from esrgan_jax.training import batch_size, configuration, loop
from esrgan_jax.training.run import Run
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import load_generator_weights
from esrgan_jax.weights.zoo import ZOO

ROOT = Path(__file__).parents[2]
LINKED = (
    "configs",
    "train.py",
    "benchmarks",
    "tests",
    "docs",
    "esrgan_jax",
    "pyproject.toml",
    "constraints.txt",
)
PREPARED = "prepared"  # stands for the user's own folder of TFDS sets
TRAINED = "trained"  # a run folder: what commands leave that do not train here
NETWORK = {"num_feat": 4, "num_block": 1, "num_grow_ch": 2}
VGG_WIDTHS = (2, 2, 4, 4, 4)

# Added to commands that train, except where the command sets the field itself.
SMALL = {
    **{f"network_g.{name}": size for name, size in NETWORK.items()},
    "network_d.num_feat": 2,
    "psnr.steps": 1,
    "psnr.batch_size": 2,
    "psnr.gt_size": 32,
    "gan.steps": 1,
    "gan.batch_size": 2,
    "num_devices": 1,
    "data.data_dir": PREPARED,
}

# Added besides where photos are degraded, or D takes pictures of any size.
SMALL_PATCHES = {"degradation.crop_pad_size": 80, "gan.gt_size": 32}

STAND_IN = """#!/bin/bash
name=${{0##*/}}
if [ "$name" = run ]; then name=.ci/run; fi
if [ "$name $1 $2" = "python3 -m venv" ]; then exec {python} -m venv --without-pip "$3"; fi
if [ "$name" = srun ]; then exec "$@"; fi
if [ "$name" = gcloud ]; then  # on the machines of the slice, where the clone is a folder of the home
  mkdir home && ln -s "$PWD" home/esrgan_jax && cd home || exit 1
  for word in "$@"; do case "$word" in --command=*) exec bash -c "${{word#--command=}}" ;; esac; done
fi
if [ "$name" = jq ]; then cat >/dev/null; fi  # so that it comes second
printf '%s\\0' "$PWD" "$name" "$@" >>"$RECORD"
printf '\\1' >>"$RECORD"
"""
PROGRAMS = ("esrgan-jax", "gcloud", "jq", "mypy", "pip", "pre-commit", "pytest", "python", "python3", "ruff")
PROGRAMS += ("scontrol", "sphinx-build", "srun", "tensorboard", "../.ci/run")


class CommandError(AssertionError):
    """A command that does not work."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A program as a shell started it."""

    folder: Path
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return shlex.join(self.words)


def build(folder: Path) -> None:
    """Make everything that the project's documents name; takes some seconds."""
    folder.mkdir()
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    for place in (
        "photos",
        "My Photos",
        "my_photos",
        "HR",
        "DIV2K/HR",
        "Flickr2K/HR",
        "DIV2K/DIV2K_train_HR",
    ):
        for name, size in (("a", 128), ("b", 132), ("c", 136)):
            write_picture(folder / place / f"{name}.png", size)
    _shrink(folder / "HR", folder / "LR", 2)
    for hr, lr in (("HR", "X4"), ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X4")):
        _shrink(folder / "DIV2K" / hr, folder / "DIV2K" / lr, 4)
    _shrink(folder / "Flickr2K/HR", folder / "Flickr2K/X4", 4)
    for number in range(5):
        write_picture(folder / f"Set5/GTmod12/{number}.png", 48)
    for name in ("photo.jpg", "poster.png", "scans/a.png", "scans/more/b.png", "more/c.tif"):
        write_picture(folder / name, 24)
    arrays = weight_files.generator(**NETWORK)
    for name in ("model.pth", "4x_community_model.pth"):
        containers.write(folder / name, {"params": arrays, "params_ema": arrays})
    containers.write(folder / "net_g.pth", {"params": weight_files.generator(2, **NETWORK)})
    write_zips(folder / "zips")
    world = World(folder)
    for words in ("div2k --whole", "div2k --whole --scale 2", "HR --name ost_sub"):
        world.run(Call(folder, ("esrgan-jax", "prepare", *words.split(), "--data-dir", PREPARED)))
    for run in (TRAINED, "runs/x4", "runs/photos", "runs/realesrnet_x4"):
        world.run(Call(folder, ("esrgan-jax", "convert", "model.pth", run)))


def _shrink(hr: Path, lr: Path, scale: int) -> None:
    lr.mkdir(parents=True)
    for file in hr.iterdir():
        with Image.open(file) as image:
            image.resize((image.width // scale, image.height // scale)).save(lr / file.name)


def write_zips(folder: Path) -> None:
    """DIV2K's zip files with small pictures, LR for scales 4 and 2."""
    div2k_zips.write_zips(folder)
    for part, pictures in div2k_zips.PICTURES.items():
        with zipfile.ZipFile(folder / f"DIV2K_{part}_LR_bicubic_X2.zip", "w") as archive:
            for number in pictures:
                image = div2k_zips.hr(part, number)
                half = Image.fromarray(image).resize((-(-image.shape[1] // 2), -(-image.shape[0] // 2)))
                archive.writestr(f"X2/{number}x2.png", div2k_zips.png(np.array(half)))


@contextlib.contextmanager
def stand_ins(folder: Path, monkeypatch) -> Iterator[FolderServer]:
    """Serve small weights instead of the published ones; make what is timed or large small."""
    monkeypatch.setattr(vgg_features, "WIDTHS", VGG_WIDTHS)
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)
    folder.mkdir()
    with serve(folder) as server:
        for name, file in ZOO.items():
            path = folder / file.path.name
            if not path.exists():
                containers.write(
                    path, _vgg() if file.scale is None else {"params_ema": _published(file.scale)}
                )
            changed = {"address": f"{server.address}/{path.name}", "size": path.stat().st_size}
            monkeypatch.setitem(ZOO, name, dataclasses.replace(file, sha256=sha256(path), **changed))
        yield server


def _published(scale: int) -> weight_files.StateDict:
    return weight_files.generator(scale, **NETWORK)


def _vgg() -> weight_files.StateDict:
    """VGG19 under torchvision's names."""
    blocks = weights.VGG_BLOCKS["vgg19"]
    arrays, inputs, index = {}, 3, 0
    rng = np.random.default_rng(0)
    for width, block in zip(VGG_WIDTHS, blocks, strict=True):
        for _ in block:
            arrays[f"features.{index}.weight"] = rng.normal(size=(width, inputs, 3, 3)).astype(np.float32)
            arrays[f"features.{index}.bias"] = np.zeros(width, np.float32)
            inputs, index = width, index + 2
        index += 1
    return arrays


def record(world: Path, script: str, folder: Path | None = None) -> list[Call]:
    """Let a shell run a text in a world, or in a folder of it, and return the programs that it starts.

    Raises:
      CommandError: the shell finds a mistake, as an unknown program or an unclosed quote.
    """
    programs = world / ".programs"
    programs.mkdir(exist_ok=True)
    (world / ".ci").mkdir(exist_ok=True)
    for name in PROGRAMS:
        (programs / name).write_text(STAND_IN.format(python=sys.executable))
        (programs / name).chmod(0o755)
    (calls := world / ".calls").write_text("")
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder or world,
        env={"PATH": f"{programs}:/usr/bin:/bin", "RECORD": str(calls), "HOME": str(world)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CommandError(f"{script}\nThe shell: {done.stderr}")
    found = [one.split("\0")[:-1] for one in calls.read_text().split("\1")[:-1]]
    return [Call(Path(folder), tuple(words)) for folder, *words in found]


class World:
    """A copy of what `build` made.

    Attributes:
      folder: where.
      trained: the kinds of training that ran already, here and in other copies.
      pages: the Markdown pages that trainings wrote.
    """

    def __init__(self, folder: Path, trained: set[str] | None = None):
        self.folder = folder
        self.trained = set() if trained is None else trained
        self.pages: list[Path] = []
        self._own_runs: set[Path] = set()

    def run(self, call: Call, previous: str = "") -> str:
        """Run a program; return what it printed.

        Args:
          call: the program.
          previous: what the one before it printed, which a pipe hands on.

        Raises:
          CommandError: it does not end with 0, or there is no way to run it here.
        """
        program, *words = call.words
        if program == "esrgan-jax" and words[:1] == ["train"] and "--help" not in words:
            return self._train(call)
        if program == "esrgan-jax":
            if words == ["--help"]:
                return _process(call.folder, [sys.executable, "-m", "esrgan_jax.cli.main", *words])
            if words[:2] == ["prepare", "div2k"]:
                words += ["--downloads", str(self.folder / "zips"), "--any-checksum"]
            if words[0] == "prepare" and not {"--data-dir", "--help"} & set(words):
                words += ["--data-dir", str(self.folder / PREPARED)]
            return _in_process(call.folder, ["esrgan-jax", *words], lambda: cli.main(words))
        if program in ("python", "python3"):
            if words[0] != "train.py":
                return read_arguments(call.folder, words)
            return (
                self._train(call)
                if words[1:] != ["--help"]
                else _process(call.folder, [sys.executable, *words])
            )
        if program == "pip":
            return _in_process(call.folder, list(call.words), lambda: check_requirements(call.folder, words))
        if program == "pytest" and words:
            small = ["--collect-only", "-n", "0", "--noconftest"]
            small += [] if "tests/" in call.text else ["tests/docs/test_architecture.py"]
            return _process(ROOT, [sys.executable, "-m", "pytest", *words, *small])
        if program == "jq" and shutil.which("jq"):
            return _process(call.folder, list(call.words), previous)
        if program in ("jq", "pytest"):
            return ""
        raise CommandError(f"{call.text}: there is no way to run {program} here")

    def _train(self, call: Call) -> str:
        words = list(call.words[1:])
        asked = train_options(words)
        if any(field.startswith("distributed.") for field in asked.fields):  # for several machines: no more
            return _in_process(call.folder, words, lambda: _check_configuration(words))
        small = {name: value for name, value in SMALL.items() if name not in asked.fields}
        if asked.model is not None:  # the network is the model's
            small = {name: value for name, value in small.items() if not name.startswith("network_g")}
        small["data.data_dir"] = asked.fields.get("data.data_dir", str(self.folder / PREPARED))
        words += [f"--config.{name}={value}" for name, value in small.items()]
        if asked.folder:
            kind, workdir = "folder", f"runs/{asked.folder}"
        else:
            config, workdir = train_command.parse(words)
            if config.network_d.type == "UNetDiscriminatorSN":
                words += [f"--config.{name}={value}" for name, value in SMALL_PATCHES.items()]
            kind = "both stages" if len(config.stages) == 2 else None
        workdir = call.folder / (asked.workdir or workdir)
        if workdir not in self._own_runs:
            shutil.rmtree(workdir, ignore_errors=True)
            self._own_runs.add(workdir)
        train = kind is not None and kind not in self.trained
        with contextlib.ExitStack() as stack:
            if not train:
                stack.enter_context(mock.patch.object(loop, "_run_stages", self._as_if_trained))
                stack.enter_context(mock.patch.object(batch_size, "time_iterations", return_value=(0.1, 2)))
            start = train_command.main if words[0] == "train.py" else lambda: cli.main(words)
            printed = _in_process(call.folder, words, start)
        self.trained |= {kind} if train else set()
        self.pages += workdir.glob("*.md")
        return printed if train else ""  # what it names is not there

    def _as_if_trained(self, run: Run) -> dict:
        """In place of all iterations."""
        if run.options.init_from:
            load_generator_weights(run.options.init_from, run.options.param_key_g)
        shutil.copytree(self.folder / TRAINED / "checkpoints", run.folder / "checkpoints", dirs_exist_ok=True)
        return {}


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What a command that trains says: a folder of photos, or a configuration; the fields that it sets."""

    folder: str | None
    model: str | None
    fields: dict[str, str]
    workdir: str | None


def train_options(words: list[str]) -> TrainOptions:
    """Read the arguments of `esrgan-jax train` or `python train.py`, which is the first word."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    train_command.add_arguments(parser)
    fields = {match[1]: match[2] for word in words if (match := re.match(r"--config\.([\w.]+)=(.*)", word))}
    known, _ = parser.parse_known_args([word for word in words[1:] if not word.startswith("--config.")])
    return TrainOptions(known.folder, known.model, fields, known.workdir)


def _check_configuration(words: list[str]) -> int:
    config, _ = train_command.parse(words)
    count = (config.num_devices or 1) * (config.distributed.num_processes or 1)
    configuration.check(config.to_dict(), count)
    return 0


def read_arguments(folder: Path, words: list[str]) -> str:
    """Let a script or module read its command line, and no more; one that reads none is compiled."""
    module = words[0] == "-m"
    name, arguments = (words[1], words[2:]) if module else (words[0], words[1:])
    path = folder / (f"{name.replace('.', '/')}.py" if module else name)
    if not path.is_file():
        raise CommandError(f"{shlex.join(words)}: there is no {name}")
    if "ArgumentParser" not in path.read_text():
        compile(path.read_text(), path, "exec")
        return ""

    class Read(BaseException):
        """It has read them."""

    def reading(original):
        def read(*given, **options):
            with mock.patch.multiple(parser, **originals):
                original(*given, **options)
            raise Read

        return read

    def start() -> int:
        try:
            if module:
                runpy.run_module(name, run_name="__main__")
            else:
                runpy.run_path(str(path), run_name="__main__")
        except Read:
            return 0
        except ModuleNotFoundError as error:
            if error.name != "torch":  # which tests and benchmarks alone need
                raise
            return 0
        raise CommandError(f"{shlex.join(words)}: it reads no arguments")

    parser = argparse.ArgumentParser
    originals = {name: getattr(parser, name) for name in ("parse_args", "parse_known_args")}
    patched = {name: reading(original) for name, original in originals.items()}
    # `machine`, `runs`: names that modules of several folders may have.
    paths = [str(folder if module else path.parent), *sys.path]
    with (
        mock.patch.dict(sys.modules),
        mock.patch.object(sys, "path", paths),
        mock.patch.multiple(parser, **patched),
    ):
        return _in_process(folder, [str(path), *arguments], start)


def check_requirements(folder: Path, words: list[str]) -> int:
    """Check what `pip install` is asked for: this project with extras it has, and files that exist."""
    parser = argparse.ArgumentParser(prog="pip")
    parser.add_argument("command", choices=["install"])
    parser.add_argument("packages", nargs="*")
    parser.add_argument("-e", dest="editable", action="append", default=[])
    parser.add_argument("-c", dest="constraints", type=lambda name: (folder / name).read_text())
    options = parser.parse_args(words)
    for package in options.packages + options.editable:
        match = re.fullmatch(r"([\w./-]+?)(?:\[([\w,]+)\])?", package)
        extras = match[2].split(",") if match and match[2] else []
        # A name means the installed one, to which only extras can be added: it is in no registry.
        place = (
            folder if match and match[1] == "esrgan-jax" and extras else folder / (match[1] if match else "")
        )
        if match is None or not (place / "pyproject.toml").is_file():
            raise CommandError(f"pip {shlex.join(words)}: {package} is not this project")
        project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
        for extra in extras:
            if extra not in project["optional-dependencies"]:
                raise CommandError(f"pip {shlex.join(words)}: there is no extra {extra}")
    return 0


def _in_process(folder: Path, words: list[str], start) -> str:
    printed = io.StringIO()
    argv, sys.argv = sys.argv, list(words)
    code: object
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = start()
        except SystemExit as end:
            code = end.code
        finally:
            sys.argv = argv
    return _checked(words, code or 0, printed.getvalue())


def _process(folder: Path, words: list[str], given: str = "") -> str:
    done = subprocess.run(words, cwd=folder, input=given, capture_output=True, text=True, env=os.environ)
    return _checked(words, done.returncode, done.stdout + done.stderr)


def _checked(words: list[str], code: object, printed: str) -> str:
    if code:
        raise CommandError(f"{shlex.join(words)}\nended with {code}:\n{printed}")
    return printed
