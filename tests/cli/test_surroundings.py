"""Commands in unkind surroundings, as processes: encodings, closed and full streams, no home, JAX's switches."""

import argparse
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import PATIENCE, ROOT, SMALL
from helpers.variables import random_variables

from esrgan_jax.cli import main as cli
from esrgan_jax.cli.train import parse
from esrgan_jax.errors import ConfigError
from esrgan_jax.models import RRDBNet
from esrgan_jax.system import surroundings
from esrgan_jax.training.train import train
from esrgan_jax.weights.save import save_generator

NO_HOME = "import pwd\ndef nobody(*_): raise KeyError\npwd.getpwuid = nobody\n"
CHANGED = ("HOME", "ESRGAN_JAX_HOME", "XDG_CACHE_HOME", "LANG", "LC_ALL", "PYTHONPATH", "NPROC", "XLA_FLAGS")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, pictures of odd names, one of them broken and one of a name that is no UTF-8."""
    folder = tmp_path_factory.mktemp("surroundings")
    module = RRDBNet(num_feat=4, num_block=1, num_grow_ch=2)
    params = random_variables(module)["params"]
    save_generator(folder / "größe.pth", module, params, params)
    random = np.random.default_rng(0)
    from PIL import Image

    for name in ("żółw.png", "画.png", os.fsdecode(b"\xff\xfe.png")):
        for place in ("Photos é", "Photos ü", "Held out"):
            (folder / place).mkdir(exist_ok=True)
            with (folder / place / name).open("wb") as file:
                Image.fromarray(random.integers(0, 256, (48, 52, 3), dtype=np.uint8)).save(file, "PNG")
    (folder / "Photos é/Ćma.png").write_text("no picture")
    (folder / "nobody").mkdir()
    (folder / "nobody/sitecustomize.py").write_text(NO_HOME)
    return folder


def run(words, folder, code=None, stderr=subprocess.PIPE, **environment):
    """The result of a command in this folder, or of Python code, in a clean environment but for these variables."""
    inherited = {name: value for name, value in os.environ.items() if name not in CHANGED}
    start = ["-m", "esrgan_jax.cli.main"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *words],
        cwd=folder,
        env=inherited | {"ESRGAN_JAX_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        timeout=PATIENCE,
    )


ENCODINGS = {
    "ascii": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    "latin-1": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    "nothing is UTF-8": {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
    },
}


@pytest.mark.parametrize("environment", ENCODINGS.values(), ids=ENCODINGS)
def test_any_encoding(folder, environment, tmp_path):
    commands = (
        (1, ["check-data", "Photos é", "--gt-size", "16"]),
        (1, ["check-data", "Photos é", "--gt-size", "16", "--json"]),
        (0, ["evaluate", "--model", "bicubic", "--hr", "Photos ü", "--html", str(tmp_path / "page.html")]),
        (0, ["inspect", "größe.pth"]),
        (1, ["evaluate", "--model", "bicubic", "--hr", "nowhere 画.png"]),
    )
    code = (
        "import os, sys\n"
        "from esrgan_jax.cli.main import main\n"
        f"for code, words in {commands!a}:\n"
        "    words = [os.fsdecode(word.encode()) for word in words]\n"
        "    found = main(words)\n"
        "    assert found == code, (words, found)\n"
    )
    done = run([], folder, code, **environment)
    assert done.returncode == 0, done.stderr.decode("latin-1")
    escaped = rb"\udc" if "PYTHONUTF8" in environment else rb"\u753b.png"
    for output in (done.stdout, done.stderr):
        assert escaped in output
        assert b"Traceback" not in output
    assert (b"\xe9" in done.stdout) == (environment["PYTHONIOENCODING"] == "latin-1")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert r"\udcff\udcfe.png" in page


def test_upscaling_a_broken_picture_of_an_odd_name(folder, tmp_path):
    words = ["upscale", "Photos é", "-o", str(tmp_path), "--model", "größe.pth"]
    done = run(words, folder, **ENCODINGS["ascii"])
    assert done.returncode == 1
    assert rb"\u0106ma.png" in done.stderr
    assert b"Traceback" not in done.stderr
    assert len(list(tmp_path.iterdir())) == 3


def test_training_where_nothing_is_kind(folder, tmp_path):
    """ASCII, no home, nobody's user id, JAX's lints, closed stdin: trains, and says once that nothing is kept."""
    fields = [word for word in SMALL if "psnr" in word or "network" in word]
    code = "import sys; from esrgan_jax.cli.train import main; sys.exit(main())"
    command = [
        sys.executable,
        "-c",
        code,
        f"--config={ROOT / 'configs/quickstart.py'}:psnr",
        f"--workdir={tmp_path / 'Läufe'}",
        "--config.data.train=Photos ü",
        "--config.data.validation=Held out",
        "--config.psnr.steps=2",
        "--config.num_devices=1",
        *[word for word in fields if "steps" not in word],
    ]
    environment = {name: value for name, value in os.environ.items() if name not in CHANGED}
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *command],
        cwd=folder,
        env=environment
        | {
            "PYTHONPATH": f"{folder / 'nobody'}{os.pathsep}{ROOT}",
            "JAX_PLATFORMS": "cpu",
            "JAX_NUMPY_RANK_PROMOTION": "raise",
            "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        }
        | ENCODINGS["ascii"],
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr.decode("latin-1")
    assert done.stderr.count(b"this user has no home folder") == 1
    assert done.stderr.count(b"\n") == 1
    assert b"ESRGAN_JAX_HOME" in done.stderr
    assert b"L\\xe4ufe" in done.stdout
    assert "Läufe" in (tmp_path / "Läufe/train.log").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "Läufe/config.json").read_text())["data"]["train"] == "Photos ü"


def test_a_published_model_without_a_place_to_keep_it(folder):
    done = run(["inspect", "RRDB_PSNR_x4"], folder, ESRGAN_JAX_HOME="", HOME="/dev/null")
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"/dev/null/.cache/esrgan_jax cannot be written (Not a directory)" in done.stderr
    assert b"ESRGAN_JAX_HOME" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams(folder, closed, tmp_path):
    words = ["check-data", "Photos ü", "--gt-size", "16"]
    page = tmp_path / "page.html"
    words = ["evaluate", "--model", "bicubic", "--hr", "Photos ü", "--html", str(page)]
    command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-m", "esrgan_jax.cli.main", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=PATIENCE)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert page.read_text(encoding="utf-8").endswith("</html>\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_or_read(folder, tmp_path):
    words = ["evaluate", "--model", "bicubic", "--hr", "Photos ü", "--html", str(tmp_path / "page.html")]
    command = [sys.executable, "-m", "esrgan_jax.cli.main", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE
        )
    assert done.returncode == 1
    assert b"evaluate: the output cannot be used (No space left on device)" in done.stderr
    assert b"Traceback" not in done.stderr
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*command[:3], "--version"], stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment, **pipe) as process:
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == cli.BROKEN_PIPE
    assert b"Error" not in told
    assert list(tmp_path.iterdir()) == []


def test_devices_that_are_not_there(folder, tmp_path):
    words = ["upscale", "Photos ü/画.png", "-o", str(tmp_path / "a.png"), "--model", "größe.pth"]
    done = run(words, folder, JAX_PLATFORMS="abacus")
    assert done.returncode == 2
    assert b"JAX_PLATFORMS asks for abacus, which JAX cannot use here" in done.stderr
    assert b"Without JAX_PLATFORMS it finds 1 cpu" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_switch_that_jax_refuses(folder, tmp_path):
    words = ["convert", "größe.pth", str(tmp_path / "a.pth")]
    done = run(words, folder, JAX_DEFAULT_MATMUL_PRECISION="perfect")
    assert done.returncode == 2
    assert b"while the environment has JAX_DEFAULT_MATMUL_PRECISION=perfect: unset that" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_other_errors_are_not_blamed_on_switches(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "0")
    with pytest.raises(ZeroDivisionError), surroundings.switches_named():
        print(1 / 0)


def test_warnings_of_libraries_stop_nothing(folder):
    done = run(["train", "--config=quickstart", "--config.psnr.steps=0"], folder, PYTHONWARNINGS="error")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == b"esrgan-jax train: psnr.steps (=0) must be 1 or larger."


@pytest.mark.parametrize(
    "error, short",
    [
        (MemoryError(), "memory (MemoryError)"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (OSError(errno.EMFILE, "Too many open files", "photo.png"), "open files"),
        (RuntimeError("can't start new thread"), "threads"),
        (ImportError("libx.so: failed to map segment from shared object"), "memory"),
    ],
)
def test_limits_of_this_process_are_named(error, short):
    with pytest.raises(ConfigError, match=re.escape(f"gets no more {short}")), surroundings.switches_named():
        raise error
    with pytest.raises(FileNotFoundError), surroundings.switches_named():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")


def test_a_name_does_not_steer_the_terminal(tmp_path, folder, capsys):
    odd = "a\x1b[2J\r\nb\u202egnp.png"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / odd).write_text("no picture")
    assert surroundings.printable(odd) == r"a\x1b[2J\r\nb\u202egnp.png"
    assert (
        surroundings.printable("na\u200cme \U0001f468\u200d\U0001f467 é")
        == "na\u200cme \U0001f468\u200d\U0001f467 é"
    )
    model = ["--model", str(folder / "größe.pth")]
    assert cli.main(["upscale", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *model]) == 1
    assert cli.main(["check-data", str(tmp_path / "in")]) == 1
    assert cli.main(["evaluate", "--model", "bicubic", "--hr", str(tmp_path / "in")]) == 1
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert r"a\x1b[2J\r\nb\u202egnp.png" in text
        assert not {"\x1b", "\r", "\u202e"} & set(text)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device on this system")
def test_what_cannot_be_told_stops_no_picture(folder, tmp_path):
    words = ["upscale", "Photos ü", "-o", str(tmp_path), "--model", "größe.pth"]
    with Path("/dev/full").open("w") as full:
        assert run(words, folder, stderr=full).returncode == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_lints_are_turned_off_where_jax_is_loaded_already(monkeypatch):
    import jax

    monkeypatch.setenv("JAX_NUMPY_RANK_PROMOTION", "raise")
    with jax.numpy_rank_promotion("raise"):
        surroundings.settle()
    assert "JAX_NUMPY_RANK_PROMOTION" not in os.environ
    assert jax.config.jax_numpy_rank_promotion == "allow"


def arguments():
    """Every argument of every command that takes a value, but those that are empty by default."""
    (commands,) = [
        action for action in cli._build_parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    for name, parser in commands.choices.items():
        for action in parser._actions:
            if action.nargs != 0 and action.default != "":
                yield pytest.param(
                    parser, action, id=f"{name} {'/'.join(action.option_strings) or action.dest}"
                )


@pytest.mark.parametrize("empty", ["", " \t"])
@pytest.mark.parametrize("parser, action", list(arguments()))
def test_no_argument_is_empty(parser, action, empty):
    with pytest.raises(argparse.ArgumentError, match="is empty"):
        parser._get_values(action, [empty])


def test_an_empty_argument_names_its_option(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["check-data", "HR", "--lr", ""])
    assert caught.value.code == 2
    assert "check-data: error: argument --lr: it is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "workdir, fields, told",
    [
        (" ", {}, "workdir is empty"),
        ("run", {"name": ""}, "name is empty"),
        ("run", {"data.train": ""}, "data.train is empty"),
        ("run", {"data.train": "HR,"}, r"data.train \(=HR,\) names a source that is empty"),
        ("run", {"init_from": " "}, "init_from is empty"),
    ],
)
def test_training_on_nothing(workdir, fields, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "HR").mkdir()
    with pytest.raises(ConfigError, match=told):
        train("quickstart", workdir, **fields)
    assert [path.name for path in tmp_path.iterdir()] == ["HR"]


@pytest.mark.parametrize("words", [["--config="], ["--config", " "], ["--config=", "--workdir=run"]])
def test_an_empty_configuration(words):
    with pytest.raises(ConfigError, match="--config is empty"):
        parse(["train.py", *words])


def test_run_folders_and_sets_of_names_that_are_no_utf_8(folder, tmp_path, capsys):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(ConfigError, match="is no UTF-8"):
        train("quickstart", place)
    assert cli.main(["convert", str(folder / "größe.pth"), str(place)]) == 2
    assert cli.main(["prepare", str(folder / "Photos ü"), "--name", "a", "--data-dir", str(place)]) == 2
    assert capsys.readouterr().err.count("is no UTF-8") == 2
    assert list(tmp_path.iterdir()) == []
    # Files do not mind, nor what is read.
    assert cli.main(["convert", str(folder / "größe.pth"), f"{place}.safetensors"]) == 0
    assert cli.main(["inspect", f"{place}.safetensors"]) == 0
