"""Files and run folders become networks; networks become files that other programs read."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from helpers import weight_files
from reference.weights import reference_state_dict, vgg_shapes

import esrgan_jax
from esrgan_jax.errors import ConfigError, WeightFileError
from esrgan_jax.models import RRDBNet, VGGStyleDiscriminator
from esrgan_jax.runs.folder import write_generator
from esrgan_jax.weights.convert import from_state_dict, to_state_dict
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import load_discriminator_weights, load_generator_weights, load_model, load_vgg
from esrgan_jax.weights.save import save_discriminator, save_generator

DATA = Path(__file__).parent / "data"
SMALL = RRDBNet(**weight_files.SMALL)


def assert_trees_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def params_of(state_dict, module=SMALL):
    return from_state_dict(module, state_dict)["params"]


@pytest.fixture
def both(tmp_path):
    """A BasicSR file of params and params_ema."""
    path = tmp_path / "net_g_5.pth"
    save_generator(
        path, SMALL, params_of(weight_files.generator()), params_of(weight_files.generator(seed=1))
    )
    return path


def test_load_model_takes_the_average_unless_told(both):
    module, variables = esrgan_jax.load_model(both)
    assert module == SMALL
    assert_trees_equal(variables, {"params": params_of(weight_files.generator(seed=1))})
    _, variables = load_model(str(both), key="params")
    assert_trees_equal(variables, {"params": params_of(weight_files.generator())})
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(variables))
    with pytest.raises(
        WeightFileError, match=r"net_g_5\.pth contains no generator, only params and params_ema"
    ):
        load_model(both, key="generator")


def test_committed_files_of_all_containers_are_one_network():
    tiny = RRDBNet(**weight_files.TINY)
    expected = params_of(weight_files.generator(**weight_files.TINY), tiny)
    for name in ("legacy_old_bare.pth", "tar_old_bare.pth"):
        module, variables = load_model(DATA / name)
        assert module == tiny
        assert_trees_equal(variables["params"], expected)
    for name, mantissa in (("new_bfloat16.safetensors", 8), ("legacy_middle_half.pth", 11)):
        module, variables = load_model(DATA / name)
        assert module == tiny
        for leaf, exact in zip(jax.tree.leaves(variables["params"]), jax.tree.leaves(expected), strict=True):
            assert leaf.dtype == np.float32
            np.testing.assert_allclose(leaf, exact, rtol=2.0**-mantissa, atol=1e-7)


def test_what_training_starts_from(both, tmp_path):
    """RECIPES 4: G from `params`, its average from `params_ema`, else from `params`."""
    params, ema = params_of(weight_files.generator()), params_of(weight_files.generator(seed=1))
    module, got_params, got_ema = load_generator_weights(both)
    assert module == SMALL
    assert_trees_equal(got_params, params)
    assert_trees_equal(got_ema, ema)
    for wrapper, _seed in (("params", 0), ("params_ema", 0), ("bare", 0), ("state_dict/generator.", 0)):
        path = tmp_path / "one.pth"
        containers.write(path, numbers_only(weight_files.WRAPPERS[wrapper](weight_files.generator())))
        _, got_params, got_ema = load_generator_weights(path)
        assert_trees_equal(got_params, params)
        assert_trees_equal(got_ema, params)
        for x, y in zip(jax.tree.leaves(got_params), jax.tree.leaves(got_ema), strict=True):
            assert not np.shares_memory(x, y)


def numbers_only(tree):
    return {
        k: numbers_only(v) if isinstance(v, dict) else v for k, v in tree.items() if not isinstance(v, int)
    }


def test_what_training_starts_from_under_a_key(tmp_path):
    one, other, average = (params_of(weight_files.generator(seed=seed)) for seed in range(3))
    path = tmp_path / "file.pth"
    tree = {"one": weight_files.generator(), "other": weight_files.generator(seed=1)}
    containers.write(path, tree)
    with pytest.raises(
        WeightFileError, match=r"networks, one and other: choose one with --key \(param_key_g in"
    ):
        load_generator_weights(path)
    for key, expected in (("one", one), ("other", other)):
        for got in load_generator_weights(path, key)[1:]:
            assert_trees_equal(got, expected)
    containers.write(path, tree | {"ema": weight_files.generator(seed=2)})
    _, got_params, got_ema = load_generator_weights(path, "other")
    assert_trees_equal((got_params, got_ema), (other, average))


def test_networks_of_two_sizes_in_one_file(tmp_path):
    containers.write(
        tmp_path / "file.pth",
        {"params": weight_files.generator(), "params_ema": weight_files.generator(**weight_files.TINY)},
    )
    with pytest.raises(WeightFileError, match="of different networks"):
        load_generator_weights(tmp_path / "file.pth")


def test_discriminator_round_trip(tmp_path):
    module = VGGStyleDiscriminator(num_feat=2)
    state_dict = weight_files.discriminator()
    variables = from_state_dict(module, state_dict)
    path = tmp_path / "net_d_5.pth"
    save_discriminator(path, module, jax.device_put(variables))
    assert list(containers.read(path).tree) == ["params"]
    loaded, again = load_discriminator_weights(path)
    assert loaded == module
    assert_trees_equal(again, variables)
    back = to_state_dict(module, again)
    assert all(back[name].tobytes() == value.tobytes() for name, value in state_dict.items())


def test_the_wrong_network(both, tmp_path):
    d = tmp_path / "net_d.pth"
    containers.write(d, {"params": weight_files.discriminator()})
    with pytest.raises(
        WeightFileError, match=r"net_d\.pth is a discriminator, \w+: a generator is needed here; "
    ):
        load_model(d)
    with pytest.raises(
        WeightFileError, match=r"is a discriminator, \w+: a generator is needed here; .* the net_g"
    ):
        load_generator_weights(d)
    with pytest.raises(WeightFileError, match="is a generator, RRDBNet: a discriminator is needed here"):
        load_discriminator_weights(both)
    with pytest.raises(WeightFileError, match="is a generator, RRDBNet: a feature network is needed here"):
        load_vgg(both)
    with pytest.raises(
        WeightFileError, match=r"does not exist\. Give a .* or a model name \(`esrgan-jax mod"
    ):
        load_model(tmp_path / "nowhere.pth")


def test_scale_3_by_word_and_by_metadata(tmp_path):
    from esrgan_jax.weights.network import recognise
    from esrgan_jax.weights.save import save_networks

    state_dict = weight_files.generator(upsamples=1)
    path = tmp_path / "x3.safetensors"
    containers.write(path, state_dict)
    assert load_model(path)[0].scale == 2
    assert load_model(path, scale=3)[0].scale == 3
    save_networks(path, {"params": recognise(state_dict, "file", scale=3)})
    assert load_model(path)[0].scale == 3


# --- run folders ------------------------------------------------------------------------------------------


def test_run_folder(tmp_path):
    params, ema = params_of(weight_files.generator(scale=2), RRDBNet(scale=2, **weight_files.SMALL)), None
    ema = jax.tree.map(lambda x: x + 1, params)
    config = {"scale": 2, "network_g": {**weight_files.SMALL, "remat": True}}
    write_generator(tmp_path / "run", config, params, ema)
    module, variables = load_model(tmp_path / "run")
    assert module == RRDBNet(scale=2, **weight_files.SMALL)
    assert_trees_equal(variables["params"], ema)
    assert_trees_equal(load_model(tmp_path / "run", key="params")[1]["params"], params)
    _, got_params, got_ema = load_generator_weights(tmp_path / "run")
    assert_trees_equal(got_params, params)
    assert_trees_equal(got_ema, ema)
    with pytest.raises(ConfigError, match="run exists: choose a new name"):
        write_generator(tmp_path / "run", config, params, ema)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    with pytest.raises(WeightFileError, match="is a generator, RRDBNet: a discriminator is needed here"):
        load_discriminator_weights(tmp_path / "run")


def test_folder_without_checkpoint(tmp_path):
    with pytest.raises(WeightFileError, match=r"holds no checkpoint: [\w ]+\.$"):
        load_model(tmp_path)
    for name in ("b.pth", "a.safetensors", "c.pt", "d.ckpt", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(
        WeightFileError, match=r"holds weight files: name one \(a\.safetensors, b\.pth, c\.pt and 1 more\)"
    ):
        load_model(tmp_path)


# --- VGG --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_vgg(tmp_path, suffix):
    state_dict = weight_files.to_float32(reference_state_dict(vgg_shapes("vgg11", ["conv3_1"]), 0))
    path = tmp_path / f"vgg{suffix}"
    containers.write(path, {name: value.astype(np.float16) for name, value in state_dict.items()})
    module, variables = load_vgg(path, "vgg11", ("conv2_1",))
    assert module.layers == ("conv2_1",)
    assert list(variables["params"]["features"]) == ["0", "3"]
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    with pytest.raises(WeightFileError, match=r"lacks features\.8\.weight"):
        load_vgg(path, "vgg11", ("conv3_2",))
    with pytest.raises(WeightFileError, match="is vgg11: vgg19 is needed here"):
        load_vgg(path)


# --- broken networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_numbers_that_are_not_finite(tmp_path, value, dtype):
    """Refused wherever weights are used: to upscale, to train from, to convert."""
    state_dict = weight_files.generator()
    state_dict["conv_body.weight"][0, 0, :2, 0] = value
    state_dict["conv_hr.bias"][:] = value
    path = tmp_path / "net.pth"
    containers.write(
        path, {name: x.astype(getattr(ml_dtypes, dtype, dtype)) for name, x in state_dict.items()}
    )
    for load in (load_model, load_generator_weights):
        with pytest.raises(
            WeightFileError,
            match=r"net\.pth holds NaN or infinity in conv_body\.weight \(2 of 144 values\) and in 1 more arrays: ",
        ):
            load(path)
    d = weight_files.discriminator()
    d["bn1_0.running_var"][1] = value
    containers.write(path, {"params": d})
    with pytest.raises(
        WeightFileError, match=r"infinity in bn1_0\.running_var \(1 of 4 values\): the network was"
    ):
        load_discriminator_weights(path)


# --- other programs ---------------------------------------------------------------------------------------


def test_our_files_load_in_torch_strictly(both, tmp_path):
    torch = pytest.importorskip("torch")
    from reference import networks

    tree = torch.load(both, weights_only=True)
    assert list(tree) == ["params", "params_ema"]
    reference = networks.RRDBNet(**weight_files.SMALL)
    for role, seed in (("params", 0), ("params_ema", 1)):
        reference.load_state_dict(tree[role], strict=True)
        assert list(tree[role]) == list(reference.state_dict())
        for name, value in weight_files.generator(seed=seed).items():
            assert tree[role][name].numpy().tobytes() == value.tobytes()
    path = tmp_path / "net_d.pth"
    module = VGGStyleDiscriminator(num_feat=2)
    save_discriminator(path, module, from_state_dict(module, weight_files.discriminator()))
    networks.VGGStyleDiscriminator(num_feat=2).load_state_dict(
        torch.load(path, weights_only=True)["params"], strict=True
    )


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("scale", [4, 2, 1])
def test_our_files_load_in_spandrel(tmp_path, suffix, scale):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchvision", exc_type=ImportError)
    spandrel = pytest.importorskip("spandrel", exc_type=ImportError)
    from esrgan_jax.weights.network import recognise
    from esrgan_jax.weights.save import save_networks

    # spandrel takes num_grow_ch for 32 whatever the file says.
    state_dict = weight_files.generator(scale=scale, num_feat=4, num_block=1, num_grow_ch=32)
    path = tmp_path / f"file{suffix}"
    save_networks(path, {"params": recognise(state_dict, "file")})
    model = spandrel.ModelLoader().load_from_file(path)
    assert (model.architecture.id, model.scale) == ("ESRGAN", scale)
    values = {name: value.numpy() for name, value in model.model.state_dict().items()}
    assert sorted(value.tobytes() for value in values.values()) == sorted(
        value.tobytes() for value in state_dict.values()
    )
    x = np.random.default_rng(0).random((1, 8, 12, 3), np.float32)
    module, variables = load_model(path)
    with torch.no_grad():
        expected = model.model(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(module.apply(variables, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("upsamples", [1, 2])
def test_esrgan_plus_has_the_names_that_others_know(tmp_path, suffix, upsamples):
    """Those of 2018; programs that know the new names alone have none for its 1x1 convolutions."""
    from esrgan_jax.weights.network import recognise
    from esrgan_jax.weights.save import save_networks

    official = weight_files.generator(plus=True, upsamples=upsamples)
    path = tmp_path / f"plus{suffix}"
    module = recognise(official, "file").module
    if suffix == ".pth":
        params = params_of(official, module)
        save_generator(path, module, params, params)
        written = containers.read(path).tree["params_ema"]
    else:
        save_networks(path, {"params": recognise(official, "file")})
        written = containers.read(path).tree
    expected = weight_files.to_old(official)
    assert written.keys() == expected.keys()
    assert all(written[name].tobytes() == array.tobytes() for name, array in expected.items())
    assert load_model(path)[0] == module


def test_torch_is_imported_nowhere():
    """In a process of its own: everything of the package, and a file of each container."""
    script = f"""
import sys
sys.modules["torch"] = None
from esrgan_jax.weights.load import load_model
for name in ("zip_new_both.pth", "legacy_old_bare.pth", "tar_old_bare.pth", "new_bfloat16.safetensors"):
    load_model({str(DATA)!r} + "/" + name)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=None)
    sources = Path(importlib.util.find_spec("esrgan_jax").origin).parent.rglob("*.py")
    for path in sources:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not line.strip().startswith(("import torch", "from torch")), path


def test_safetensors_metadata(tmp_path):
    from esrgan_jax.weights.network import recognise
    from esrgan_jax.weights.save import save_networks

    save_networks(tmp_path / "a.safetensors", {"params": recognise(weight_files.generator(scale=2), "file")})
    metadata = containers.read(tmp_path / "a.safetensors").metadata
    assert metadata["architecture"] == "RRDBNet"
    assert json.loads(metadata["scale"]) == 2
    assert metadata["num_block"] == "2"
