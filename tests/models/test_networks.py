"""Sizes, initial values, names and refusals of the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.variables import random_variables
from jax import lax

from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator, convolution
from esrgan_jax.models.convolution import DIMENSIONS, conv
from esrgan_jax.models.layers import leaky_relu, max_pool, pixel_unshuffle, relu
from esrgan_jax.models.network import initial_variables
from esrgan_jax.models.vgg_features import layer_names
from esrgan_jax.weights.convert import from_state_dict, to_state_dict, variable_shapes


def parameter_count(module):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variable_shapes(module)["params"]))


@pytest.mark.parametrize(
    ("module", "count"),
    [
        (RRDBNet(scale=4), 16_697_987),
        (RRDBNet(scale=2), 16_703_171),
        (RRDBNet(scale=1), 16_723_907),
        (VGGStyleDiscriminator(input_size=128), 14_499_401),
        (VGGStyleDiscriminator(input_size=256), 21_055_049),  # counted by the reference
    ],
)
def test_parameter_count(module, count):
    assert parameter_count(module) == count


def test_trunk_is_one_stack():
    shapes = variable_shapes(RRDBNet())["params"]
    assert len(jax.tree.leaves(shapes)) == 42
    assert shapes["body"]["rdb2"]["conv3"]["weight"].shape == (23, 3, 3, 128, 32)


@pytest.mark.parametrize("scale", [4, 2, 1])
def test_remat_changes_nothing(scale):
    x = jax.random.uniform(jax.random.key(0), (1, 8, 4, 3))
    modules = [RRDBNet(scale, num_feat=8, num_block=2, num_grow_ch=4, remat=remat) for remat in (True, False)]
    variables = random_variables(modules[0])
    outputs = [jax.jit(module.apply)(variables, x) for module in modules]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert outputs[0].shape == (1, 8 * scale, 4 * scale, 3)


def test_initial_values():
    """BasicSR: dense convolutions kaiming normal x 0.1 without bias, all else uniform in +-1/sqrt(fan_in)."""
    params = initial_variables(RRDBNet(num_block=3), 0)["params"]
    conv3 = params["body"]["rdb2"]["conv3"]
    std = 0.1 * np.sqrt(2 / (9 * 128))
    assert np.std(conv3["weight"]) == pytest.approx(std, rel=0.02)
    assert np.abs(conv3["weight"]).max() > 3 * std  # normal, not uniform
    assert not np.any(conv3["bias"])
    assert not np.array_equal(conv3["weight"][0], conv3["weight"][1])
    for name, fan_in in (("conv_first", 27), ("conv_body", 576), ("conv_last", 576)):
        for value in params[name].values():
            assert np.abs(value).max() <= 1 / np.sqrt(fan_in)
        assert np.std(params[name]["weight"]) == pytest.approx(1 / np.sqrt(3 * fan_in), rel=0.05)


def test_discriminator_starts_as_torch_does():
    d = VGGStyleDiscriminator(num_feat=8)
    variables = initial_variables(d, 0)
    state_dict = to_state_dict(d, variables)
    assert np.all(state_dict["bn3_1.weight"] == 1)
    assert not state_dict["bn3_1.bias"].any()
    assert np.all(state_dict["bn3_1.running_var"] == 1)
    assert not state_dict["bn3_1.running_mean"].any()
    assert state_dict["bn3_1.num_batches_tracked"] == 0
    assert set(variables) == {"params", "batch_stats"}
    assert np.abs(state_dict["linear1.bias"]).max() <= 1 / np.sqrt(64 * 16)


@pytest.mark.parametrize("vgg_type", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_vgg_is_cut_behind_the_deepest_layer(vgg_type):
    module = VGGFeatureExtractor(vgg_type, ("pool2", "conv3_1"))
    convs = variable_shapes(module)["params"]["features"]
    names = layer_names(vgg_type)
    assert sorted(map(int, convs)) == [
        i for i, name in enumerate(names) if name.startswith("conv") and i <= names.index("conv3_1")
    ]


def test_vgg19_indices_are_torchvisions():
    names = layer_names("vgg19")
    wanted = {"conv1_2": 2, "conv2_2": 7, "conv3_4": 16, "conv4_4": 25, "conv5_4": 34}
    assert {name: names.index(name) for name in wanted} == wanted


def test_bfloat16_ends_in_float32():
    g = RRDBNet(num_feat=8, num_block=1, num_grow_ch=4, dtype=jnp.bfloat16)
    d = VGGStyleDiscriminator(num_feat=2, dtype=jnp.bfloat16)
    x = jnp.zeros((2, 32, 32, 3))
    sr, g_variables = jax.eval_shape(g.init_with_output, jax.random.key(0), x)
    logits, d_variables = jax.eval_shape(d.init_with_output, jax.random.key(0), sr)
    assert sr.dtype == logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(g_variables)} == {jnp.dtype("float32")}
    assert d_variables["batch_stats"]["bn1_0"]["running_var"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("module", "shape", "sentence"),
    [
        (RRDBNet(scale=3), (1, 4, 4, 3), r"`scale` \(=3\) must be"),
        (RRDBNet(scale=2), (1, 4, 5, 3), "multiples of the unshuffle factor"),
        (RRDBNet(), (1, 4, 4, 1), "1 channels"),
        (VGGStyleDiscriminator(), (1, 96, 96, 3), "96 x 96 x 3, 128 x 128 x 3 expected"),
        (VGGStyleDiscriminator(input_size=64), (1, 64, 64, 3), r"`input_size` \(=64\)"),
        (VGGFeatureExtractor("vgg12"), (1, 32, 32, 3), r"`vgg_type` \(='vgg12'\)"),
        (VGGFeatureExtractor("vgg11", ("conv3_3",)), (1, 32, 32, 3), "conv3_3"),
    ],
)
def test_refusals_say_what_is_wrong(module, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))


# One strip of rows, and several; 74 cannot be cut well.
@pytest.mark.parametrize(("height", "width"), [(5, 6), (64, 7), (64, 6), (74, 6)])
@pytest.mark.parametrize("channels", [(6, 4), (3, 5)])
@pytest.mark.parametrize(("size", "strides"), [(3, 1), (4, 2), (3, 2)])
def test_conv_gradient_is_laxs_own(height, width, channels, size, strides, monkeypatch):
    monkeypatch.setattr(convolution, "CACHE_SIZE", 3000)  # the larger ones are cut into strips

    def plain(x, w):
        pads = ((1, 1), (1, 1))
        return lax.conv_general_dilated(x, w, (strides, strides), pads, dimension_numbers=DIMENSIONS)

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 3)
        x = jax.random.normal(keys[0], (3, height, width, channels[0]), "float64")
        w = jax.random.normal(keys[1], (size, size, *channels), "float64")
        y = plain(x, w)
        np.testing.assert_allclose(conv(x, w, strides), y, rtol=0, atol=1e-12)
        g = jax.random.normal(keys[2], y.shape, "float64")
        ours = jax.vjp(lambda x, w: conv(x, w, strides), x, w)[1](g)
        for mine, other in zip(ours, jax.vjp(plain, x, w)[1](g), strict=True):
            np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12)


def test_conv_gradient_sums_half_precision_in_float32():
    x = jnp.ones((8, 256, 256, 1), "bfloat16")
    gradient = jax.grad(lambda w: conv(x, w, 1).astype("float32").sum())(jnp.zeros((3, 3, 1, 1), "bfloat16"))
    assert gradient.dtype == "bfloat16"
    assert gradient[1, 1, 0, 0] == 8 * 256 * 256


def test_leaky_relu_has_torchs_gradient_at_zero():
    np.testing.assert_allclose(jax.vmap(jax.grad(leaky_relu))(jnp.array([-1.0, 0.0, 1.0])), [0.2, 0.2, 1.0])


def test_relu_keeps_nan_and_has_torchs_gradient_at_zero():
    np.testing.assert_array_equal(relu(jnp.array([-1.0, 0.0, 2.0, np.nan])), [0, 0, 2, np.nan])
    np.testing.assert_array_equal(jax.vmap(jax.grad(relu))(jnp.array([-1.0, 0.0, 1.0])), [0, 0, 1])


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 4)])
def test_max_pool_gives_the_gradient_to_the_first_of_equal_ones(size):
    """As a window's reduction does, which is PyTorch's rule too; small whole numbers are often equal."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-1, 2, (2, *size, 3)), jnp.float32)
    g = rng.normal(size=(2, size[0] // 2, size[1] // 2, 3)).astype(np.float32)

    def window(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    (out, pull), (expected, pull_window) = jax.vjp(max_pool, x), jax.vjp(window, x)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(pull(g)[0], pull_window(g)[0])


def test_max_pool_agrees_with_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).integers(-1, 2, (2, 3, 7, 8)).astype(np.float32)
    x[0, 0, 0, 1] = x[1, 2, 3, 4] = np.nan
    other = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.max_pool2d(other, 2)
    weights = np.random.default_rng(2).normal(size=expected.shape).astype(np.float32)
    expected.backward(torch.tensor(weights))
    out, pull = jax.vjp(max_pool, jnp.asarray(x.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(out.transpose(0, 3, 1, 2), expected.detach().numpy())
    gradient = pull(jnp.asarray(weights.transpose(0, 2, 3, 1)))[0]
    np.testing.assert_array_equal(gradient.transpose(0, 3, 1, 2), other.grad.numpy())


def test_pixel_unshuffle_order():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    y = np.asarray(pixel_unshuffle(jnp.asarray(x), 2))
    assert y.shape == (2, 2, 3, 12)
    for c, sy, sx in np.ndindex(3, 2, 2):
        np.testing.assert_array_equal(y[..., c * 4 + sy * 2 + sx], x[:, sy::2, sx::2, c])


@pytest.mark.parametrize(
    "module",
    [
        RRDBNet(scale=2, num_feat=8, num_block=2, num_grow_ch=4),
        VGGStyleDiscriminator(num_feat=2),
        VGGFeatureExtractor("vgg11", ("conv2_1",)),
    ],
)
def test_state_dict_round_trip(module):
    variables = random_variables(module)
    again = from_state_dict(module, to_state_dict(module, variables))
    assert jax.tree.structure(again) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
