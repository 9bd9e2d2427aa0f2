"""SRVGGNetCompact and UNetDiscriminatorSN in files: sizes from shapes, out and in again bit for bit."""

import json

import jax
import numpy as np
import pytest
from helpers import weight_files
from helpers.variables import random_variables
from PIL import Image

from esrgan_jax.cli.main import main
from esrgan_jax.errors import WeightFileError
from esrgan_jax.models import SRVGGNetCompact, UNetDiscriminatorSN
from esrgan_jax.weights.convert import to_state_dict
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import load_discriminator_weights, load_generator_weights, load_model
from esrgan_jax.weights.network import recognise
from esrgan_jax.weights.save import save_discriminator, save_generator
from esrgan_jax.weights.state_dicts import choose, find_state_dicts
from esrgan_jax.weights.zoo import ZOO

SMALL = {"num_feat": 4, "num_conv": 1}


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def arrays_of(module, seed=0):
    return to_state_dict(module, random_variables(module, seed))


@pytest.mark.parametrize(
    "fields",
    [
        {"scale": 4, "num_feat": 7, "num_conv": 5},
        {"scale": 3, "num_feat": 4, "num_conv": 1},
        {"scale": 2, "num_feat": 4, "num_conv": 2, "act_type": "relu"},
        {"scale": 1, "num_feat": 5, "num_conv": 3},
        {"scale": 2, "num_feat": 4, "num_conv": 1, "num_in_ch": 1, "num_out_ch": 1},
        {"scale": 4, "num_feat": 4, "num_conv": 1, "num_in_ch": 1, "num_out_ch": 3},
        {"scale": 8, "num_feat": 4, "num_conv": 1, "num_in_ch": 4, "num_out_ch": 4},
    ],
    ids=str,
)
def test_sizes_of_a_generator_from_its_shapes(fields):
    module = SRVGGNetCompact(**fields)
    network = recognise(arrays_of(module), "file", role="generator")
    assert (network.module, network.dialect) == (module, "BasicSR")
    assert recognise(arrays_of(module), "file", scale=module.scale).module == module


def test_a_scale_that_does_not_go_with_the_shapes():
    with pytest.raises(WeightFileError, match=r"file is no network of scale 3: with 48 outputs .* can be 4"):
        recognise(arrays_of(SRVGGNetCompact(**SMALL)), "file", scale=3)


def test_activations_that_leave_no_trace(tmp_path):
    """ReLU is taken where nothing says otherwise; a run folder does."""
    module = SRVGGNetCompact(act_type="leakyrelu", **SMALL)
    state_dict = arrays_of(module)
    network = recognise(state_dict, "file")
    assert network.module == module.clone(act_type="relu")
    from esrgan_jax.runs.folder import write_generator

    params = random_variables(module)["params"]
    config = {"scale": 4, "network_g": {"type": "SRVGGNetCompact", "act_type": "leakyrelu", **SMALL}}
    write_generator(tmp_path / "run", config, params, params)
    assert load_model(tmp_path / "run")[0] == module


@pytest.mark.parametrize("damage", ["missing", "more", "shape", "colours"])
def test_what_is_nearly_one(damage, tmp_path):
    state_dict = arrays_of(SRVGGNetCompact(**SMALL))
    if damage == "missing":
        del state_dict["body.2.bias"]
    elif damage == "more":
        state_dict["upsampler.weight"] = np.ones((3, 3, 3, 3), np.float32)
    elif damage == "shape":
        state_dict["body.4.weight"] = state_dict["body.4.weight"][:47]
    else:
        state_dict["body.0.weight"] = state_dict["body.0.weight"][:, :2]
    containers.write(tmp_path / "a.pth", {"params": state_dict})
    sentences = {
        "missing": r"nearest is SRVGGNetCompact in the BasicSR dialect, with body\.2\.bias missing",
        "more": r"with upsampler\.weight unexpected",
        "shape": r"has body\.4\.weight of shape \(47, 4, 3, 3\), \(48, 4, 3, 3\) expected",
        "colours": r"has body\.4\.weight of shape \(48, 4, 3, 3\), \(32, 4, 3, 3\) expected",
    }
    with pytest.raises(WeightFileError, match=sentences[damage]):
        load_model(tmp_path / "a.pth")


def test_a_generator_through_files(tmp_path, capsys):
    """params_ema before params before bare ones, under any prefix; every format gives the same back."""
    module = SRVGGNetCompact(scale=2, **SMALL)
    variables, ema = random_variables(module), random_variables(module, 1)
    save_generator(tmp_path / "a.pth", module, variables["params"], ema["params"])
    loaded, params, average = load_generator_weights(tmp_path / "a.pth")
    assert loaded == module
    assert_same((params, average), (variables["params"], ema["params"]))
    for name, source in (("b.safetensors", "a.pth"), ("run", "b.safetensors"), ("c.pth", "run")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / name)]) == 0
        loaded, again = load_model(tmp_path / name)
        assert loaded == module
        assert_same(again, ema)
    bare = weight_files.prefixed(to_state_dict(module, variables), "module.")
    containers.write(tmp_path / "bare.pth", bare)
    assert_same(load_model(tmp_path / "bare.pth")[1], variables)
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "c.pth"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["architecture"], report["wrapper"]) == ("SRVGGNetCompact", "params_ema")
    assert report["fields"]["scale"] == 2
    assert report["loadable"]

    words = [str(tmp_path / name) for name in ("a.pth", "bare.pth")]
    mixed = str(tmp_path / "mixed.pth")
    assert main(["interpolate", *words, "--alpha", "0.25", "-o", mixed]) == 0
    expected = jax.tree.map(
        lambda a, b: np.float32(0.75) * a + np.float32(0.25) * b, ema["params"], variables["params"]
    )
    jax.tree.map(np.testing.assert_allclose, load_model(mixed)[1]["params"], expected)


@pytest.mark.parametrize("fields", [{"num_feat": 3}, {"num_feat": 2, "num_in_ch": 1}], ids=str)
def test_a_discriminator_keeps_its_vectors(fields, tmp_path, capsys):
    module = UNetDiscriminatorSN(**fields)
    variables = random_variables(module)
    save_discriminator(tmp_path / "net_d.pth", module, variables)
    loaded, again = load_discriminator_weights(tmp_path / "net_d.pth")
    assert loaded == module
    assert_same(again, variables)
    for name, source in (("a.safetensors", "net_d.pth"), ("b.pth", "a.safetensors")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / name)]) == 0
        assert_same(load_discriminator_weights(tmp_path / name)[1], variables)
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "b.pth"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["architecture"], report["loadable"]) == ("UNetDiscriminatorSN", True)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert report["parameters"] == parameters  # u and v are none


def test_a_discriminator_of_the_newer_spectral_norm():
    """Parametrizations hold the same arrays under other names."""
    module = UNetDiscriminatorSN(num_feat=2)
    official = arrays_of(module)
    names = {
        "weight_orig": "parametrizations.weight.original",
        "weight_u": "parametrizations.weight.0._u",
        "weight_v": "parametrizations.weight.0._v",
    }
    renamed = {}
    for name, array in official.items():
        layer, _, field = name.partition(".")
        renamed[f"{layer}.{names.get(field, field)}"] = array
    both = {"g": weight_files.generator(), "d": weight_files.prefixed(renamed, "module.")}
    found = find_state_dicts(both)
    network = recognise(choose(found, None, "file", ("discriminator",)).state_dict, "file")
    assert (network.module, network.dialect) == (module, "parametrized")
    assert_same(network.state_dict, official)
    chosen = choose(found, None, "file").state_dict
    assert chosen.keys() == weight_files.generator().keys()


def test_a_discriminator_is_no_generator(tmp_path):
    module = UNetDiscriminatorSN(num_feat=2)
    save_discriminator(tmp_path / "net_d.pth", module, random_variables(module))
    with pytest.raises(
        WeightFileError, match=r"is a discriminator, \w+: a generator is needed here; .* the net_g"
    ):
        load_model(tmp_path / "net_d.pth")


# --- noise --------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """Two small networks under the names of the published ones."""
    module = SRVGGNetCompact(**SMALL)
    networks = [random_variables(module, seed)["params"] for seed in (0, 1)]
    paths = [tmp_path / f"realesr-general{name}-x4v3.pth" for name in ("", "-wdn")]
    for path, params in zip(paths, networks, strict=True):
        containers.write(path, {"params": to_state_dict(module, {"params": params})})
    return paths[0], *networks


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_denoise_is_a_mean_of_two(pair, share):
    path, general, noisy = pair
    if share == 1:
        path.with_name("realesr-general-wdn-x4v3.pth").unlink()  # not needed
    mixed = load_model(path, denoise=share)[1]["params"]
    jax.tree.map(
        lambda m, g, n: np.testing.assert_allclose(m, share * g + (1 - share) * n, rtol=0, atol=1e-7),
        *(mixed, general, noisy),
    )
    if share in (0, 1):
        assert_same(mixed, general if share else noisy)


def test_denoise_of_the_command(pair, tmp_path, capsys):
    path, *_ = pair
    picture = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    results = {}
    for words in ((), ("--denoise", "1"), ("--denoise", "0.5")):
        output = tmp_path / f"b{len(results)}.png"
        command = ["upscale", str(tmp_path / "a.png"), "-o", str(output), "--model", str(path), *words]
        assert main(command) == 0
        results[words] = np.asarray(Image.open(output))
    plain, whole, half = results.values()
    np.testing.assert_array_equal(plain, whole)
    assert not np.array_equal(plain, half)

    other = tmp_path / "other.pth"
    other.write_bytes(path.read_bytes())
    capsys.readouterr()
    for model, share, sentence in (
        (other, "0.5", "denoise (=0.5) is for realesr-general-x4v3 alone"),
        (path, "1.5", "denoise (=1.5) must be 0 to 1."),
    ):
        words = ["upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "c.png"), "--model", str(model)]
        assert main([*words, "--denoise", share]) == 2
        assert sentence in capsys.readouterr().err


def test_partners_of_another_size(pair):
    path, *_ = pair
    other = SRVGGNetCompact(num_feat=5, num_conv=1)
    containers.write(path.with_name("realesr-general-wdn-x4v3.pth"), {"params": arrays_of(other)})
    with pytest.raises(WeightFileError, match=r"-wdn-x4v3\.pth is another network than .*-general-x4v3\.pth"):
        load_model(path, denoise=0.5)


def test_partners_in_the_zoo_are_of_one_network():
    for file in ZOO.values():
        if file.noisy:
            other = ZOO[file.noisy]
            assert (other.network, other.scale, other.size) == (file.network, file.scale, file.size)
