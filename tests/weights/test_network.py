"""Networks are recognised in every dialect, and their sizes read off; what is none says what it is nearest to."""

import numpy as np
import pytest
from helpers import weight_files
from reference.weights import reference_state_dict, vgg_shapes

from esrgan_jax.errors import WeightFileError
from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator
from esrgan_jax.weights.network import recognise
from esrgan_jax.weights.state_dicts import choose, find_state_dicts


def assert_same(state_dict, expected):
    assert state_dict.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(state_dict[name], value), name


@pytest.mark.parametrize("wrapper", weight_files.WRAPPERS)
@pytest.mark.parametrize("dialect", weight_files.DIALECTS)
def test_every_dialect_under_every_wrapper(dialect, wrapper):
    official = weight_files.generator()
    found = find_state_dicts(weight_files.WRAPPERS[wrapper](weight_files.DIALECTS[dialect](official)))
    assert [f.wrapper for f in found] == [wrapper.rstrip(".") if wrapper != "bare" else ""]
    network = recognise(choose(found, None, "file").state_dict, "file")
    assert network.dialect == dialect
    assert network.module == RRDBNet(**weight_files.SMALL)
    assert_same(network.state_dict, official)


SIZES = {
    "x4": ({}, {}),
    "x2": ({"scale": 2}, {"scale": 2}),
    "x1": ({"scale": 1}, {"scale": 1}),
    "x1 without unshuffle": ({"upsamples": 0}, {"scale": 1, "num_upsample": 0}),
    "x2 without unshuffle": ({"upsamples": 1}, {"scale": 2, "num_upsample": 1}),
    "x8": ({"upsamples": 3}, {"scale": 8, "num_upsample": 3}),
    "num_grow_ch other than 32": (
        {"num_feat": 6, "num_block": 3, "num_grow_ch": 5},
        {"num_feat": 6, "num_block": 3, "num_grow_ch": 5},
    ),
    "grey": (
        {"num_in_ch": 1, "num_out_ch": 1, **weight_files.SMALL},
        {"num_in_ch": 1, "num_out_ch": 1, **weight_files.SMALL},
    ),
    "grey x2": (
        {"scale": 2, "num_in_ch": 1, "num_out_ch": 1, **weight_files.SMALL},
        {"scale": 2, "num_in_ch": 1, "num_out_ch": 1, **weight_files.SMALL},
    ),
    "alpha": (
        {"num_in_ch": 4, "num_out_ch": 4, **weight_files.SMALL},
        {"num_in_ch": 4, "num_out_ch": 4, **weight_files.SMALL},
    ),
    "eleven blocks": (
        {"num_feat": 2, "num_block": 11, "num_grow_ch": 1},
        {"num_feat": 2, "num_block": 11, "num_grow_ch": 1},
    ),
    "ESRGAN+": ({"plus": True}, {"conv1x1": True}),
}


@pytest.mark.parametrize("dialect", weight_files.DIALECTS)
@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_inferred(size, dialect):
    options, fields = SIZES[size]
    official = weight_files.generator(**options)
    network = recognise(weight_files.DIALECTS[dialect](official), "file")
    assert network.module == RRDBNet(**(weight_files.SMALL | fields))
    assert network.dialect == ("ESRGAN+" if (size, dialect) == ("ESRGAN+", "old") else dialect)
    assert_same(network.state_dict, official)


def test_scale_3_looks_like_scale_2():
    state_dict = weight_files.to_old(weight_files.generator(upsamples=1))
    assert recognise(state_dict, "file").module.scale == 2
    assert recognise(state_dict, "file", scale=3).module.scale == 3


def test_scale_decides_about_the_unshuffle():
    state_dict = weight_files.generator(scale=2)
    assert recognise(state_dict, "file").module.num_in_ch == 3
    assert recognise(state_dict, "file", scale=4).module.num_in_ch == 12
    with pytest.raises(WeightFileError, match=r"file is no network of scale 3: .* it can be 4 or 2\."):
        recognise(state_dict, "file", scale=3)


@pytest.mark.parametrize("input_size", [128, 256])
def test_discriminator(input_size):
    official = weight_files.discriminator(input_size, num_feat=3)
    network = recognise(weight_files.prefixed(official, ""), "file")
    assert network.module == VGGStyleDiscriminator(num_feat=3, input_size=input_size)
    assert_same(network.state_dict, official)


def test_a_discriminator_that_did_not_count_batches():
    official = weight_files.discriminator()
    old = {name: value for name, value in official.items() if not name.endswith("num_batches_tracked")}
    network = recognise(old, "file")
    assert network.state_dict.keys() == official.keys()
    assert network.state_dict["bn0_1.num_batches_tracked"].item() == 0


@pytest.mark.parametrize("vgg_type", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_vgg(vgg_type):
    shapes = vgg_shapes(vgg_type)
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    classifier = {"classifier.0.weight": np.zeros((2, 2)), "classifier.0.bias": np.zeros(2)}
    network = recognise(zeros | classifier, "file")
    assert isinstance(network.module, VGGFeatureExtractor)
    assert network.module.vgg_type == vgg_type
    assert network.state_dict.keys() == shapes.keys()


def test_vgg_cut_short_must_be_named():
    shapes = vgg_shapes("vgg19", ["conv2_2"])
    state_dict = reference_state_dict(shapes, 0)
    with pytest.raises(WeightFileError, match="vgg13 and vgg16 and vgg19 share: choose one with --arch"):
        recognise(state_dict, "file")
    assert recognise(state_dict, "file", "vgg19").module.layers == ("conv2_2",)
    with pytest.raises(WeightFileError, match="file is vgg13 or vgg16 or vgg19: vgg11 is needed here"):
        recognise(state_dict, "file", "vgg11")


def test_mmagic_keeps_both_networks_in_one_dict():
    tree = {
        "meta": {"iter": 5},
        "state_dict": {
            "step_counter": np.ones(1),
            **weight_files.prefixed(weight_files.generator(), "generator."),
            **weight_files.prefixed(weight_files.generator(seed=1), "generator_ema."),
            **weight_files.prefixed(weight_files.discriminator(), "discriminator."),
            "perceptual_loss.vgg.vgg_layers.0.weight": np.ones(1),
        },
    }
    found = find_state_dicts(tree)
    assert [f.role for f in found] == ["params", "params_ema", "discriminator"]
    assert_same(choose(found, None, "file").state_dict, weight_files.generator(seed=1))
    assert_same(choose(found, "params", "file").state_dict, weight_files.generator())
    assert_same(choose(found, "generator", "file").state_dict, weight_files.generator())
    assert_same(choose(found, "discriminator", "file").state_dict, weight_files.discriminator())
    with pytest.raises(
        WeightFileError, match="file contains no netX, only state_dict/discriminator and state_d"
    ):
        choose(found, "netX", "file")


# --- what is no network -----------------------------------------------------------------------------------


def test_the_wrong_kind_says_what_it_is():
    needed = (
        r"^file is a discriminator, VGGStyleDiscriminator: a generator is needed here; .* take the net_g "
    )
    with pytest.raises(WeightFileError, match=needed):
        recognise(weight_files.discriminator(), "file", "RRDBNet")
    with pytest.raises(
        WeightFileError, match=r"^file is a generator, RRDBNet: a discriminator is needed here\.$"
    ):
        recognise(weight_files.to_old(weight_files.generator()), "file", "VGGStyleDiscriminator")
    with pytest.raises(
        WeightFileError, match=r"^file is a generator, RRDBNet: a feature network is needed here\.$"
    ):
        recognise(weight_files.generator(), "file", "vgg19")


@pytest.mark.parametrize("dialect", weight_files.DIALECTS)
def test_missing_and_unexpected_names_are_those_of_the_file(dialect):
    state_dict = weight_files.DIALECTS[dialect](weight_files.generator())
    official = list(weight_files.generator())
    here = dict(zip(official, state_dict, strict=True))
    del state_dict[here["conv_body.bias"]]
    with pytest.raises(WeightFileError) as caught:
        recognise(state_dict, "file")
    assert f"nearest is RRDBNet in the {dialect} dialect, with {here['conv_body.bias']} missing." in str(
        caught.value
    )
    state_dict = weight_files.DIALECTS[dialect](weight_files.generator()) | {"attention.weight": np.ones(1)}
    with pytest.raises(WeightFileError, match=f"the {dialect} dialect, with attention.weight unexpected"):
        recognise(state_dict, "file")


@pytest.mark.parametrize("dialect", weight_files.DIALECTS)
def test_a_scale_that_is_too_large_is_named(dialect):
    state_dict = weight_files.DIALECTS[dialect](weight_files.generator(upsamples=4))
    with pytest.raises(
        WeightFileError,
        match=r"^file enlarges 16 times: networks up to scale 8 can be run here, not scale 16",
    ):
        recognise(state_dict, "file")


def test_other_architectures():
    other = {f"body.{i}.conv.{field}": np.ones(2) for i in range(3) for field in ("weight", "bias")}
    with pytest.raises(WeightFileError) as caught:
        recognise(other, "file")
    assert "nearest is RRDBNet in the new dialect, with conv_first.weight and" in str(caught.value)
    assert "missing, body.0.conv.weight and 5 more unexpected." in str(caught.value)
    with pytest.raises(WeightFileError, match=r"its arrays are called layers\.0\.weight\.$"):
        recognise({"layers.0.weight": np.ones(2)}, "file")
    with pytest.raises(WeightFileError, match="contains no named arrays"):
        choose(find_state_dicts({"params": {"lr": 0.1}}), None, "file")
    with pytest.raises(WeightFileError, match="contains no named arrays"):
        choose(find_state_dicts([np.ones(2)]), None, "file")
