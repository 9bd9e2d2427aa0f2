"""SRVGGNetCompact: torch's numbers, its sizes, and tiles that are the whole picture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.variables import random_variables

from esrgan_jax import Upscaler
from esrgan_jax.inference.tile_network import _tile_function
from esrgan_jax.inference.tile_sizes import tile_bytes
from esrgan_jax.models import SRVGGNetCompact
from esrgan_jax.models.network import initial_variables
from esrgan_jax.weights.convert import from_state_dict, to_state_dict, variable_shapes


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"scale": 4, "num_feat": 6, "num_conv": 2}, (2, 5, 7, 3)),
        ({"scale": 3, "num_feat": 5, "num_conv": 1, "act_type": "relu"}, (1, 6, 4, 3)),
        ({"scale": 2, "num_feat": 4, "num_conv": 3, "act_type": "leakyrelu", "num_in_ch": 1}, (1, 4, 6, 1)),
        ({"scale": 1, "num_feat": 4, "num_conv": 2, "num_in_ch": 4, "num_out_ch": 4}, (1, 3, 8, 4)),
    ],
    ids=str,
)
def test_values_and_gradients_are_those_of_torch(fields, shape):
    torch = pytest.importorskip("torch")
    from reference import networks

    torch.manual_seed(0)
    theirs = {{"scale": "upscale"}.get(name, name): value for name, value in fields.items()}
    reference = networks.SRVGGNetCompact(**theirs).double()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)  # slopes of all signs
    x = torch.randn(shape, dtype=torch.float64).permute(0, 3, 1, 2).requires_grad_()
    output = reference(x)
    weights = torch.randn_like(output)
    (output * weights).sum().backward()

    module = SRVGGNetCompact(**fields)
    arrays = {name: value.numpy() for name, value in reference.state_dict().items()}
    with jax.enable_x64(True):
        variables = from_state_dict(module, arrays)
        picture = jnp.asarray(x.detach().numpy().transpose(0, 2, 3, 1))
        cotangent = jnp.asarray(weights.numpy().transpose(0, 2, 3, 1))

        @jax.jit
        def both(variables, picture):
            output, pull = jax.vjp(module.apply, variables, picture)
            return output, *pull(cotangent)

        ours, of_variables, of_picture = both(variables, picture)
    np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), output.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(of_picture.transpose(0, 3, 1, 2), x.grad.numpy(), rtol=1e-12, atol=1e-12)
    gradients = to_state_dict(module, of_variables)
    for name, parameter in reference.named_parameters():
        np.testing.assert_allclose(gradients[name], parameter.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "count", "arrays"),
    [
        ({}, 621_424, 53),
        ({"num_conv": 32}, 1_213_296, 101),
        ({"scale": 3}, 609_307, 53),
        ({"scale": 2}, 600_652, 53),
        ({"scale": 1}, 595_459, 53),
        ({"act_type": "relu"}, 621_424 - 17 * 64, 36),
    ],
    ids=str,
)
def test_parameter_count(fields, count, arrays):
    leaves = jax.tree.leaves(variable_shapes(SRVGGNetCompact(**fields)))
    assert (sum(int(np.prod(leaf.shape)) for leaf in leaves), len(leaves)) == (count, arrays)


def test_initial_values():
    params = initial_variables(SRVGGNetCompact(num_feat=8, num_conv=2), 0)["params"]["body"]
    assert np.all(params["1"]["weight"] == 0.25)
    for name in ("2", "6"):  # PyTorch's default: uniform in +-1/sqrt(fan_in)
        for array in params[name].values():
            assert 0.7 < np.abs(array).max() * np.sqrt(9 * 8) <= 1


def test_half_precision_keeps_the_picture():
    module = SRVGGNetCompact(num_feat=8, num_conv=2, dtype=jnp.bfloat16)
    variables = random_variables(module)
    x = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    output, full = (jax.jit(m.apply)(variables, x) for m in (module, module.clone(dtype=None)))
    assert output.dtype == jnp.float32
    assert 0 < np.abs(output - full).max() < 0.05 * np.abs(full).max()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_conv": 0}, "`num_conv`"),
        ({"scale": 0}, "`scale`"),
        ({"act_type": "gelu"}, r"`act_type` \(=gelu\) must be one of prelu, relu, leakyrelu"),
        ({"num_in_ch": 2}, r"`num_in_ch` \(=2\) must be 1 or `num_out_ch` \(=3\)"),
    ],
)
def test_what_cannot_be(fields, message):
    module = SRVGGNetCompact(**fields)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(module.example_shape))
    with pytest.raises(ValueError, match="the input has 1 channels"):
        jax.eval_shape(SRVGGNetCompact().init, jax.random.key(0), jnp.zeros((1, 4, 4, 1)))


# --- tiles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "tile"),
    [
        ({"scale": 4, "num_feat": 4, "num_conv": 16}, 64),
        ({"scale": 2, "num_feat": 6, "num_conv": 5, "act_type": "leakyrelu"}, 64),
        ({"scale": 3, "num_feat": 4, "num_conv": 32}, 128),
    ],
    ids=str,
)
def test_tiles_are_the_whole_picture(fields, tile):
    """By default; the picture is no multiple of anything, and biases would show where a mask lacks."""
    module = SRVGGNetCompact(**fields)
    variables = random_variables(module)
    picture = np.random.default_rng(0).integers(0, 256, (tile + 21, 2 * tile + 7, 3), np.uint8)
    whole = jax.jit(module.apply)(variables, picture[None] / np.float32(255))[0]
    upscaler = Upscaler(module, variables["params"], tile=tile, devices=jax.local_devices()[:1])
    assert upscaler.tile_count(*picture.shape[:2]) >= 6
    np.testing.assert_array_equal(upscaler(picture), np.rint(np.clip(whole, 0, 1) * 255).astype(np.uint8))


def test_estimated_memory_is_not_below_what_xla_takes():
    module = SRVGGNetCompact(num_feat=16, num_conv=2)
    shapes = (jax.ShapeDtypeStruct((1, 64, 64, 3), "float32"), jax.ShapeDtypeStruct((1, 4), "int32"))
    lowered = jax.jit(_tile_function(module)).lower(variable_shapes(module)["params"], *shapes)
    used = lowered.compile().memory_analysis()
    taken = used.temp_size_in_bytes + used.output_size_in_bytes
    assert taken <= tile_bytes(module, 64, 4) <= 4 * taken


def test_receptive_radius():
    module = SRVGGNetCompact(num_feat=4, num_conv=3, scale=2)
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda leaf: np.abs(leaf).astype(np.float64), random_variables(module))
        x = np.random.default_rng(0).random((1, 1, 30, 3))
        apply = jax.jit(module.apply)
        before = np.asarray(apply(variables, x))
        x[:, :, 20] += 1
        changed = np.nonzero(np.any(np.asarray(apply(variables, x)) != before, axis=(0, 1, 3)))[0] // 2
    assert changed.min() == 20 - module.receptive_radius == 15
