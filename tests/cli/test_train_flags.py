"""What is wrong with a command line, said in one sentence that names the field or file."""

import subprocess
import sys
from pathlib import Path

import pytest

from esrgan_jax.cli.train import parse
from esrgan_jax.errors import ConfigError

# How ml_collections loads a file; Python only shows it to people who ask for such warnings.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "configs/quickstart.py")


@pytest.fixture(autouse=True)
def forget_the_last_file():
    """Every file is loaded as the same module, where the functions of the last one remain."""
    sys.modules.pop("config_config", None)


def refuse(*words):
    """The sentence with which a command line is refused."""
    with pytest.raises(ConfigError) as caught:
        parse(["train.py", *words])
    text = str(caught.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


def test_configuration_and_workdir():
    config, workdir = parse(["train.py", "--config", QUICKSTART])
    assert config.name == "quickstart"
    assert workdir == "runs/quickstart"
    config, workdir = parse(["train.py", f"--config={QUICKSTART}:gan", "--workdir=there"])
    assert config.stages == ("gan",)
    assert workdir == "there"
    assert parse(["train.py", f"--config={QUICKSTART}:gan"])[1] == "runs/quickstart-gan"


def test_overrides():
    config, _ = parse(
        [
            "train.py",
            f"--config={QUICKSTART}",
            "--config.psnr.steps=7",
            "--config.psnr.optim_g.lr=3e-4",
            "--config.gan.scheduler.milestones=(5, 6)",
            "--config.data.use_hflip=false",
            "--noconfig.data.use_rot",
            "--config.num_devices=1",
            "--config.data.train=some/folder",
            "--config.stages=psnr",
            "--config.perceptual.layer_weights={'conv1_1': 0.5}",
        ]
    )
    assert config.psnr.steps == 7
    assert config.psnr.optim_g.lr == 3e-4
    assert config.gan.scheduler.milestones == (5, 6)
    assert not config.data.use_hflip
    assert not config.data.use_rot
    assert config.num_devices == 1
    assert config.data.train == "some/folder"
    assert config.stages == ("psnr",)
    assert config.perceptual.layer_weights.conv1_1 == 0.5


def test_flags_missing():
    assert refuse() == "--config is missing: try --config quickstart."
    assert refuse("--workdir", "there").startswith("--config is missing")
    assert "--config" in refuse("--config")
    assert "--workdir" in refuse("--config", QUICKSTART, "--workdir")
    assert "--config.psnr.steps" in refuse("--config", QUICKSTART, "--config.psnr.steps")


def test_flags_that_there_are_not():
    assert "'workdr'. Did you mean: workdir" in refuse("--config", QUICKSTART, "--workdr=x")
    assert "'confg'. Did you mean: config" in refuse("--confg", QUICKSTART)
    assert refuse("--config", QUICKSTART, "gan").startswith("gan is no flag")


@pytest.mark.parametrize(
    "flag, field, guess",
    [
        ("--config.psnr.stepz=3", "stepz", "steps"),
        ("--config.stepz=3", "stepz", None),
        ("--config.psnrr.steps=3", "psnrr", "psnr"),
        ("--config.data.use_flip=true", "use_flip", "use_hflip"),
        ("--noconfig.data.use_flip", "use_flip", "use_hflip"),
        ("--config.psnr.steps.x=3", "psnr.steps.x", None),
    ],
)
def test_unknown_field(flag, field, guess):
    text = refuse("--config", QUICKSTART, flag)
    assert text.startswith("Unknown field ")
    assert field in text
    assert guess is None or f'Did you mean "{guess}"' in text


@pytest.mark.parametrize(
    "flag",
    [
        "--config.psnr.steps=abc",
        "--config.psnr.steps=1.5",
        "--config.psnr.optim_g.lr=fast",
        "--config.data.use_hflip=perhaps",
        "--config.num_devices=two",
        "--config.psnr=3",
    ],
)
def test_wrong_type(flag):
    assert flag in refuse("--config", QUICKSTART, flag)


def test_field_before_the_file():
    assert "before a value for --config" in refuse("--config.psnr.steps=3", "--config", QUICKSTART)


def test_unknown_stage():
    text = refuse("--config", str(ROOT / "configs/x4.py:foo"))
    assert "FILE:foo" in text
    assert "FILE:psnr" in text
    assert "FILE:gan" in text


def test_file_that_does_not_exist():
    expected = (
        "There is no configuration nowhere.py: give the path of a file, or one of base, compact_x4, finetune_pairs, "
        "own_photos, quickstart, realesrgan_x2, realesrgan_x4, realesrnet_x4, x2, x4."
    )
    assert refuse("--config", "nowhere.py") == refuse("--config=nowhere.py:gan") == expected
    assert "Is a directory" in refuse("--config", str(ROOT / "configs"))
    assert refuse("--config=") == "--config is empty: try --config quickstart."


def test_file_by_its_name(tmp_path, monkeypatch):
    """Also with a stage, a preset and fields, from a folder that holds nothing; files may import ours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x2").mkdir()  # a run folder, say
    assert parse(["train.py", "--config", "x2"])[0].scale == 2
    config, workdir = parse(["train.py", "--config=x4:gan,paper", "--config.seed=7"])
    assert (config.stages, config.seed, workdir) == (("gan",), 7, "runs/x4-gan-paper")
    path = tmp_path / "mine.py"
    path.write_text("from configs import base\ndef get_config():\n    return base.get_config()\n")
    monkeypatch.delitem(sys.modules, "configs", raising=False)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if Path(folder or ".") != ROOT])
    assert parse(["train.py", "--config", "mine.py"])[0].scale == 4


@pytest.mark.parametrize(
    "program, words",
    [
        ("def get_config(:\n", "SyntaxError"),
        ("import nosuchmodule\n", "No module named 'nosuchmodule'"),
        ("x = 1\n", "get_config"),
        ("def get_config():\n    return undefined\n", "name 'undefined' is not defined"),
        ("from configs import base\ndef get_config():\n    base.get_config().psnr.steps = 'a'\n", "'steps'"),
        ("from configs import quickstart\ndef get_config():\n    return {}['a']\n", "'a'"),
        ("def get_config():\n    raise ValueError\n", "ValueError"),
        ("def get_config():\n    raise RuntimeError\n", "RuntimeError"),
        ("def get_config(stage):\n    pass\n", "get_config()"),
    ],
)
def test_file_that_is_wrong(tmp_path, program, words):
    path = tmp_path / "mine.py"
    path.write_text(program)
    text = refuse("--config", str(path))
    assert words in text
    assert "mine.py" in text


def test_mistakes_are_found_in_no_time():
    """Nothing of what a mistake on the command line needs imports JAX."""
    code = (
        "import sys, train\n"
        "for words in ([], ['--config', 'nowhere.py'], ['--config', 'configs/x4.py', '--config.x=1']):\n"
        "    sys.argv[1:] = words\n"
        "    assert train.main() == 2\n"
        "assert not {'jax', 'flax', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["train.py"] * 3


def test_help():
    """Our flags, and not a page of other modules' flags."""
    for flag in ("--help", "-h"):
        done = subprocess.run(
            [sys.executable, "train.py", flag],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        assert len(done.stdout.splitlines()) < 20
        for words in ("--config FILE", "--workdir FOLDER", "--config.psnr.batch_size=8", "quickstart"):
            assert words in done.stdout


def test_several_sources():
    """What docs/data.md says to type."""
    config, _ = parse(
        [
            "train.py",
            f"--config={QUICKSTART}",
            "--config.data.train=DIV2K/HR,tfds:ost_sub",
            "--config.data.train_lr=DIV2K/X4,",
            "--config.data.train_weights=(2, 0.5)",
            "--config.data.lr_template={name}x{scale}",
            "--config.data.on_bad_image=skip",
        ]
    )
    assert config.data.train == "DIV2K/HR,tfds:ost_sub"
    assert config.data.train_lr == "DIV2K/X4,"
    assert config.data.train_weights == (2, 0.5)
    assert config.data.lr_template == "{name}x{scale}"
    assert config.data.on_bad_image == "skip"
    config, _ = parse(["train.py", f"--config={QUICKSTART}", "--config.data.train_weights=3,1"])
    assert config.data.train_weights == (3, 1)
