"""convert, inspect, interpolate: what they do, say, and leave with."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import weight_files

from esrgan_jax.cli.main import COMMANDS, main
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import load_generator_weights, load_model


@pytest.fixture
def files(tmp_path):
    """A community file, one as a trainer leaves it, and a discriminator."""
    containers.write(tmp_path / "old.pth", weight_files.to_old(weight_files.generator()))
    both = {"params": weight_files.generator(), "params_ema": weight_files.generator(seed=1)}
    containers.write(tmp_path / "net_g.pth", both)
    containers.write(tmp_path / "net_d.pth", {"params": weight_files.discriminator()})
    return tmp_path


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def assert_same_file(a, b):
    a, b = containers.read(a).tree, containers.read(b).tree
    assert a.keys() == b.keys()
    for role in a:
        assert a[role].keys() == b[role].keys()
        for name, value in a[role].items():
            assert value.dtype == b[role][name].dtype
            assert value.tobytes() == b[role][name].tobytes()


def test_help_is_quick_and_needs_no_jax():
    script = "import sys; sys.modules['jax'] = None; from esrgan_jax.cli.main import main; main(['--help'])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    for command in COMMANDS:
        assert command.replace("_", "-") in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    command = command.replace("_", "-")
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"esrgan-jax {command}" in capsys.readouterr().out


def test_convert_to_every_container(files):
    variables = load_model(files / "old.pth")[1]
    for name in ("new.pth", "new.safetensors", "new_run"):
        assert main(["convert", str(files / "old.pth"), str(files / name)]) == 0
        module, again = load_model(files / name)
        assert module.num_block == weight_files.SMALL["num_block"]
        assert same(variables, again)
    assert list(containers.read(files / "new.pth").tree) == ["params"]


def test_convert_keeps_both_or_the_one_asked_for(files):
    source = str(files / "net_g.pth")
    assert main(["convert", source, str(files / "run")]) == 0
    _, params, ema = load_generator_weights(files / "run")
    assert not same(params, ema)
    assert main(["convert", str(files / "run"), str(files / "again.pth")]) == 0
    assert_same_file(files / "again.pth", files / "net_g.pth")
    assert main(["convert", source, str(files / "ema.safetensors")]) == 0
    assert same(load_model(files / "ema.safetensors")[1]["params"], ema)
    assert main(["convert", source, str(files / "p.pth"), "--key", "params"]) == 0
    assert list(containers.read(files / "p.pth").tree) == ["params"]


def test_convert_a_discriminator(files):
    for name in ("d.safetensors", "d.pth"):
        assert main(["convert", str(files / "net_d.pth"), str(files / name)]) == 0
    assert_same_file(files / "d.pth", files / "net_d.pth")


def test_convert_to_another_dtype(files, capsys):
    for dtype in ("float16", "bfloat16", "float32"):
        assert main(["convert", str(files / "net_d.pth"), str(files / "half.pth"), "--to-dtype", dtype]) == 0
        params = containers.read(files / "half.pth").tree["params"]
        assert str(params["conv0_0.weight"].dtype) == dtype
        assert params["bn0_1.num_batches_tracked"].dtype == np.int64
    huge = {name: value * 1e6 for name, value in weight_files.generator().items()}
    containers.write(files / "huge.pth", huge)
    assert main(["convert", str(files / "huge.pth"), str(files / "x.pth"), "--to-dtype", "float16"]) == 1
    assert "that float16 cannot hold: choose bfloat16" in capsys.readouterr().err


def test_interpolate(files):
    a, b, c = (str(files / name) for name in ("old.pth", "net_g.pth", "mixed.pth"))
    assert main(["interpolate", a, b, "--alpha", "0.8", "-o", c]) == 0
    first, second = weight_files.generator(), weight_files.generator(seed=1)
    mixed = containers.read(c).tree["params"]
    for name, value in mixed.items():
        # The official net_interp.py: (1 - alpha) * PSNR + alpha * ESRGAN, in float32.
        assert np.array_equal(value, (1 - 0.8) * first[name] + 0.8 * second[name])
    for alpha, expected in (("0", first), ("1", second)):
        assert main(["interpolate", a, b, "--alpha", alpha, "-o", c]) == 0
        assert all(np.array_equal(containers.read(c).tree["params"][name], x) for name, x in expected.items())


def test_inspect(files, capsys):
    assert main(["inspect", str(files / "net_g.pth"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["container"] == "zip .pth"
    assert list(report["holds"].items()) == [("params_ema", "generator, averaged"), ("params", "generator")]
    assert report["wrapper"] == "params_ema"
    assert (report["dialect"], report["architecture"]) == ("new", "RRDBNet")
    assert report["fields"] == {
        **weight_files.SMALL,
        "scale": 4,
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_upsample": 2,
        "conv1x1": False,
    }
    assert report["parameters"] == sum(value.size for value in weight_files.generator().values())
    assert report["dtype"] == ["float32"]
    assert len(report["sha256"]) == 64
    assert report["loadable"] is True
    assert main(["inspect", str(files / "old.pth")]) == 0
    out = capsys.readouterr().out
    assert "dialect       old\n" in out
    assert "loadable      yes\n" in out


def test_inspect_names_all_that_is_there(files, capsys):
    """Networks, optimizers, Python objects; the one that is meant comes first."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2, 2))])
    tree = {"net_d": weight_files.discriminator(), "net_g": weight_files.generator()}
    tree = weight_files.map_arrays(torch.from_numpy, tree)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3]).state_dict()
    torch.save({**tree, "optimizers": [optimizer.state_dict()], "schedule": schedule}, files / "all.pth")
    assert main(["inspect", str(files / "all.pth")]) == 0
    out = capsys.readouterr().out
    assert "holds         net_g (generator), net_d (discriminator), optimizers/0 (optimizer)\n" in out
    assert "left out      collections.Counter\n" in out
    assert "wrapper       net_g\n" in out
    for key in ("net_d", "discriminator"):
        assert main(["convert", str(files / "all.pth"), str(files / "d.pth"), "--key", key]) == 0
        assert_same_file(files / "d.pth", files / "net_d.pth")
    assert main(["convert", str(files / "all.pth"), str(files / "g.safetensors")]) == 0
    assert same(load_model(files / "g.safetensors")[1], load_model(files / "old.pth")[1])


def test_a_broken_network(files, capsys):
    broken = weight_files.generator()
    broken["conv_hr.bias"][0] = np.nan
    containers.write(files / "broken.pth", {"params": broken})
    assert main(["inspect", str(files / "broken.pth"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loadable"] is False
    assert "holds NaN or infinity in conv_hr.bias (1 of 4 values)" in report["problem"]
    assert main(["convert", str(files / "broken.pth"), str(files / "x.pth")]) == 1
    assert not (files / "x.pth").exists()


def test_inspect_what_is_unknown(files, capsys):
    containers.write(files / "other.pth", {"params": {"body.0.weight": np.ones(3, np.float32)}})
    assert main(["inspect", str(files / "other.pth"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loadable"] is False
    assert report["architecture"] is None
    assert report["parameters"] == 3
    assert "nearest is SRVGGNetCompact in the BasicSR dialect" in report["problem"]


def test_scale_3(files, capsys):
    containers.write(files / "x3.pth", weight_files.to_old(weight_files.generator(upsamples=1)))
    for arguments, scale in (([], 2), (["--scale", "3"], 3)):
        assert main(["inspect", str(files / "x3.pth"), "--json", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["fields"]["scale"] == scale
    assert main(["convert", str(files / "x3.pth"), str(files / "x3.safetensors"), "--scale", "3"]) == 0
    assert load_model(files / "x3.safetensors")[0].scale == 3


MISTAKES = {
    "no such file": (["inspect", "nothing.pth"], 1, "nothing.pth does not exist. Give a .pth or"),
    "suffix": (["convert", "old.pth", "new.onnx"], 2, "ends in neither .pth nor .safetensors: choose one"),
    "key": (["convert", "old.pth", "new.pth", "--key", "ema"], 1, "old.pth contains no ema, only params."),
    "arch": (
        ["inspect", "old.pth", "--arch", "ResNet"],
        2,
        "--arch (=ResNet) must be one of RRDBNet, SRVGGNetCompact, VGGStyle",
    ),
    "wrong arch": (
        ["convert", "net_d.pth", "x.pth", "--arch", "RRDBNet"],
        1,
        "is a discriminator, VGGStyleDiscriminator: a generator is",
    ),
    "alpha": (
        ["interpolate", "old.pth", "net_g.pth", "--alpha", "2", "-o", "c.pth"],
        2,
        "--alpha (=2) must be b",
    ),
    "kinds": (
        ["interpolate", "old.pth", "net_d.pth", "--alpha", "1", "-o", "c.pth"],
        2,
        "differ in architecture (",
    ),
    "folder exists": (["convert", "old.pth", "there"], 2, "there exists: choose a new name"),
    "discriminator folder": (
        ["convert", "net_d.pth", "new"],
        1,
        "run folders contain generators; choose .pth or",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence(files, monkeypatch, capsys, mistake):
    monkeypatch.chdir(files)
    (files / "there").mkdir()
    before = sorted(path.name for path in files.iterdir())
    arguments, code, sentence = MISTAKES[mistake]
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.startswith(f"esrgan-jax {arguments[0]}: ")
    assert captured.err.count("\n") == 1
    assert sorted(path.name for path in files.iterdir()) == before


def test_wrong_usage_leaves_with_2(capsys):
    for arguments in ([], ["nonsense"], ["convert", "one"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
