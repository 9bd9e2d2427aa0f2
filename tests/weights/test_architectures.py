"""A network becomes known with one entry: two toys, defined here, go through files and back bit for bit."""

import inspect
import json
from pathlib import Path
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import weight_files
from helpers.variables import random_variables

import esrgan_jax.weights
from esrgan_jax.cli.main import main
from esrgan_jax.errors import WeightFileError
from esrgan_jax.models.layers import Conv, upsample_nearest
from esrgan_jax.runs.folder import read_config, write_generator
from esrgan_jax.weights.architectures import (
    ARCHITECTURES,
    Architecture,
    Dialect,
    entry_of,
    official_dialect,
    register,
    size,
)
from esrgan_jax.weights.convert import state_dict_shapes, to_state_dict
from esrgan_jax.weights.formats import containers
from esrgan_jax.weights.load import (
    check_architecture_name,
    load_discriminator_weights,
    load_generator_weights,
    load_model,
)
from esrgan_jax.weights.network import architecture_name, recognise
from esrgan_jax.weights.save import save_discriminator, save_generator, save_networks


class ToyGenerator(nn.Module):
    """Nearest enlarging and two convolutions with a slope per channel between them; its body is a plain list."""

    features: int = 5
    slope: float = 0.1  # leaves no trace in the arrays
    scale: ClassVar = 2
    num_in_ch: ClassVar = 3
    example_shape: ClassVar = (1, 4, 4, 3)

    @nn.compact
    def __call__(self, x, mask=None):
        x = Conv(self.features, name="body.0")(upsample_nearest(x))
        x = jnp.maximum(x, self.slope * x) * self.param("gain", nn.initializers.ones, (self.features,))
        return Conv(3, name="body.2")(x)


class ToyDiscriminator(nn.Module):
    """One convolution, a vector that moves in train mode, and a count of forwards in another collection."""

    features: int = 4
    num_in_ch: ClassVar = 3
    input_size: ClassVar = None
    example_shape: ClassVar = (1, 8, 8, 3)

    @nn.compact
    def __call__(self, x, train=True):
        weight = self.param("weight_orig", nn.initializers.ones, (3, 3, 3, self.features))
        u = self.variable("spectral", "weight_u", jnp.ones, (self.features,))
        count = self.variable("counts", "forwards", jnp.zeros, (), int)
        if train and self.is_mutable_collection("spectral"):
            u.value, count.value = u.value * 2, count.value + 1
        return jnp.sum(x, (1, 2, 3), keepdims=True) * jnp.sum(weight) * u.value


def generator_entry():
    return Architecture(
        name="Toy",
        role="generator",
        module=ToyGenerator,
        dialects=(
            official_dialect("toy", "body.{i}", "gain"),
            Dialect("other", {"body.0": "head", "body.2": "tail.{features}", "gain": "activation.weight"}),
        ),
        infer=lambda state_dict, hints: ToyGenerator(size(state_dict, "gain", 0, 1)),
        fields=("features", "slope"),
    )


def discriminator_entry():
    return Architecture(
        name="ToyJudge",
        role="discriminator",
        module=ToyDiscriminator,
        dialects=(
            official_dialect("hook", "weight_orig", "weight_u", "forwards"),
            Dialect("parametrized", {"weight_orig": "weight.original", "weight_u": "weight.0._u"}),
        ),
        infer=lambda state_dict, hints: ToyDiscriminator(size(state_dict, "weight_orig", 0, 1)),
        fields=("features",),
        complete=lambda state_dict: {"forwards": np.zeros((), np.int64)} | state_dict,
    )


@pytest.fixture
def restored():
    """The registry is afterwards as it was."""
    before = dict(ARCHITECTURES)
    yield
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)


@pytest.fixture
def toys(restored):
    register(generator_entry())
    register(discriminator_entry())


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


# --- one entry --------------------------------------------------------------------------------------------


def test_a_generator_goes_through_files_and_comes_back(toys, tmp_path):
    module = ToyGenerator(6)
    variables, ema = random_variables(module), random_variables(module, 1)
    state_dict = to_state_dict(module, variables)
    assert {name: value.shape for name, value in state_dict.items()} == state_dict_shapes(module)
    assert state_dict["body.0.weight"].shape == (6, 3, 3, 3)
    assert state_dict["gain"].shape == (6,)
    save_generator(tmp_path / "a.pth", module, variables["params"], ema["params"])
    for name in ("b.safetensors", "run", "c.pth"):  # each made from the one before
        source = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)[-1]
        assert main(["convert", str(source), str(tmp_path / name)]) == 0
        loaded, again = load_model(tmp_path / name)
        assert loaded == module
        assert_same(again, ema)
    loaded, params, average = load_generator_weights(tmp_path / "a.pth")
    assert loaded == module
    assert_same((params, average), (variables["params"], ema["params"]))
    assert read_config(tmp_path / "run")["network_g"] == {"type": "Toy", "features": 6, "slope": 0.1}


def test_a_run_folder_says_what_arrays_do_not_show(toys, tmp_path):
    module = ToyGenerator(6, slope=0.25)
    params = random_variables(module)["params"]
    config = {"scale": 2, "network_g": {"type": "Toy", "features": 6, "slope": 0.25, "unrelated": 1}}
    write_generator(tmp_path / "run", config, params, params)
    assert load_model(tmp_path / "run")[0] == module
    with pytest.raises(WeightFileError, match="is Toy: RRDBNet is needed here"):
        recognise(to_state_dict(module, {"params": params}), "file", "RRDBNet")
    del ARCHITECTURES["Toy"]
    with pytest.raises(
        WeightFileError, match=r"run was trained with network_g\.type=Toy, which must be one of RRDBNet"
    ):
        load_model(tmp_path / "run")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_discriminator_keeps_all_its_collections(toys, tmp_path, suffix, capsys):
    module = ToyDiscriminator(3)
    variables = random_variables(module)
    assert set(variables) == {"params", "spectral", "counts"}
    _, moved = module.apply(variables, jnp.ones((2, 8, 8, 3)), mutable=["spectral", "counts"])
    variables = jax.device_get(variables | moved)
    assert variables["counts"]["forwards"] == 1
    state_dict = to_state_dict(module, variables)
    assert set(state_dict) == {"weight_orig", "weight_u", "forwards"}
    assert state_dict["forwards"].dtype == np.int64
    path = tmp_path / f"d{suffix}"
    if suffix == ".pth":
        save_discriminator(path, module, jax.device_put(variables))
    else:
        save_networks(path, {"params": recognise(state_dict, "file")})
    loaded, again = load_discriminator_weights(path)
    assert loaded == module
    assert_same(again, variables)
    assert main(["inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["architecture"], report["fields"]) == ("ToyJudge", {"features": 3})
    assert (report["parameters"], report["dtype"], report["loadable"]) == (81, ["float32"], True)


def test_other_dialects_rename_layers_and_single_arrays(toys):
    module = ToyGenerator(6)
    state_dict = to_state_dict(module, random_variables(module))
    local = {"body.0": "head", "body.2": "tail.6", "gain": "activation.weight"}
    renamed = {}
    for name, value in state_dict.items():
        layer = next(layer for layer in local if name.startswith(layer))
        renamed[local[layer] + name.removeprefix(layer)] = value
    network = recognise(renamed, "file")
    assert (network.dialect, network.module) == ("other", module)
    assert network.state_dict.keys() == state_dict.keys()
    del renamed["tail.6.bias"]
    with pytest.raises(WeightFileError, match=r"Toy in the other dialect, with tail\.6\.bias missing\."):
        recognise(renamed, "file")
    judge = {"weight.original": np.ones((2, 3, 3, 3), np.float32), "weight.0._u": np.ones(2, np.float32)}
    network = recognise(judge, "file", role="discriminator")
    assert (network.dialect, network.module) == ("parametrized", ToyDiscriminator(2))
    assert network.state_dict["forwards"] == 0


def test_networks_known_before_are_still_told_apart(toys):
    for state_dict, name in (
        (weight_files.generator(), "RRDBNet"),
        (weight_files.discriminator(), "VGGStyleDiscriminator"),
        (to_state_dict(ToyGenerator(), random_variables(ToyGenerator())), "Toy"),
    ):
        assert architecture_name(recognise(state_dict, "file").module) == name
    check_architecture_name("ToyJudge")


def test_of_architectures_with_similar_names_the_fitting_one_is_taken(toys):
    class Short(ToyGenerator):
        @nn.compact
        def __call__(self, x, mask=None):
            return Conv(3, name="body.0")(upsample_nearest(x)) * self.param(
                "gain", nn.initializers.ones, (3,)
            )

    fields = {"name": "Short", "module": Short, "infer": lambda state_dict, hints: Short()}
    register(Architecture(**{**vars(generator_entry()), **fields}))
    for module, name in ((Short(), "Short"), (ToyGenerator(), "Toy")):
        state_dict = to_state_dict(module, random_variables(module))
        assert type(recognise(state_dict, "file").module) is type(module)
        with pytest.raises(WeightFileError, match="is Toy: RRDBNet is needed here"):
            recognise(state_dict, "file", "RRDBNet")
        assert type(recognise(state_dict, "file", name).module) is type(module)
    with pytest.raises(
        WeightFileError, match=r"nearest is Toy in the toy dialect, with body\.0\.bias and 2 more missing"
    ):
        recognise({"body.0.weight": np.ones((3, 3, 3, 3)), "gain": np.ones(3)}, "file")


# --- without an entry, and mistakes in one -----------------------------------------------------------------


def test_what_is_not_registered(tmp_path):
    module = ToyGenerator()
    variables = random_variables(module)
    for use in (
        lambda: to_state_dict(module, variables),
        lambda: save_generator(tmp_path / "a.pth", module, variables["params"], variables["params"]),
        lambda: architecture_name(module),
        lambda: entry_of(module),
    ):
        with pytest.raises(
            ValueError, match=r"^ToyGenerator is not a registered architecture .*register\(Architecture"
        ):
            use()
    containers.write(tmp_path / "b.pth", {"head.weight": np.ones((2, 3, 3, 3), np.float32)})
    known = "RRDBNet, SRVGGNetCompact, VGGStyleDiscriminator, UNetDiscriminatorSN, vgg11, vgg13, vgg16, vgg19"
    with pytest.raises(
        WeightFileError,
        match=rf"networks that are known here \({known}\): its arrays are called head\.weight\.$",
    ):
        load_model(tmp_path / "b.pth")


def test_mistakes_in_an_entry(toys):
    fields = vars(generator_entry())
    with pytest.raises(ValueError, match=r"Toy: Toy \(ToyGenerator\) is already registered"):
        register(generator_entry())
    with pytest.raises(ValueError, match=r"Again: Toy \(ToyGenerator\) is already registered"):
        register(Architecture(**{**fields, "name": "Again"}))
    dialects = fields["dialects"][::-1]
    with pytest.raises(
        ValueError, match=r"Toy: the first dialect must have the official .* head for body\.0"
    ):
        register(Architecture(**{**fields, "dialects": dialects}))
    with pytest.raises(ValueError, match="it has no names"):
        register(Architecture(**{**fields, "dialects": ()}))


def test_two_collections_cannot_share_a_name(restored):
    class Twice(nn.Module):
        example_shape: ClassVar = (1, 2)

        @nn.compact
        def __call__(self, x):
            return (
                x * self.param("u", nn.initializers.ones, (2,))
                + self.variable("state", "u", jnp.ones, (2,)).value
            )

    register(Architecture(**{**vars(generator_entry()), "name": "Twice", "module": Twice}))
    with pytest.raises(ValueError, match=r"^Twice: params/u and state/u are both called u in files"):
        to_state_dict(Twice(), random_variables(Twice()))


# --- the entries of the package ----------------------------------------------------------------------------


@pytest.mark.parametrize("entry", dict.fromkeys(ARCHITECTURES.values()), ids=lambda entry: entry.name)
def test_first_dialects_have_the_names_that_are_written(entry):
    dialect = entry.dialects[0]
    for name in state_dict_shapes(entry.module()):
        assert dialect.official_name(name) == name
        assert dialect.local_name(name, entry.module()) == name


def test_only_entries_name_a_network():
    folder = Path(inspect.getfile(esrgan_jax.weights)).parent
    classes = [entry.module.__name__ for entry in ARCHITECTURES.values()]
    for path in folder.rglob("*.py"):
        if path.name != "zoo.py" and (path.parent.name != "architectures" or path.stem == "architecture"):
            text = path.read_text(encoding="utf-8")
            assert not [name for name in classes if name in text], path


def test_a_vgg_with_other_layers_in_it():
    state_dict = {"features.0.weight": np.ones((64, 3, 3, 3)), "features.norm0.weight": np.ones(64)}
    with pytest.raises(WeightFileError, match=r"features\.norm0\.weight unexpected"):
        recognise(state_dict, "file", "vgg19")
    with pytest.raises(WeightFileError, match=r"nearest is VGG in the torchvision dialect, with .* missing"):
        recognise({"features.0.0.weight": np.ones((64, 3, 3, 3))}, "file")
