"""UNetDiscriminatorSN and its spectral normalisation: torch's numbers, gradients, and when the state moves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.variables import random_variables

from esrgan_jax.models import UNetDiscriminatorSN
from esrgan_jax.models.layers import upsample_bilinear
from esrgan_jax.models.spectral_norm import SpectralConv
from esrgan_jax.weights.convert import from_state_dict, to_state_dict, variable_shapes


def nhwc(x):
    return jnp.asarray(x.detach().numpy().transpose(0, 2, 3, 1))


def test_three_forwards_and_gradients_are_those_of_torch():
    """Train, train, eval, train; the gradient is of the second one, through sigma, u and v being constants."""
    torch = pytest.importorskip("torch")
    from reference import networks

    torch.manual_seed(1)
    reference = networks.UNetDiscriminatorSN(num_feat=3).double()
    module = UNetDiscriminatorSN(num_feat=3)
    x = torch.randn(2, module.num_in_ch, 16, 24, dtype=torch.float64, requires_grad=True)
    with jax.enable_x64(True):
        arrays = {name: value.numpy().copy() for name, value in reference.state_dict().items()}
        variables = from_state_dict(module, arrays)
        train = jax.jit(functools.partial(module.apply, mutable=["spectral_norm"]))
        infer = jax.jit(functools.partial(module.apply, train=False))

        def check(ours, theirs, state):
            np.testing.assert_allclose(ours, nhwc(theirs), rtol=0, atol=1e-12)
            expected = reference.state_dict()
            for name, value in to_state_dict(module, state).items():
                np.testing.assert_allclose(value, expected[name].numpy(), rtol=0, atol=1e-12)

        ours, moved = train(variables, nhwc(x))
        check(ours, reference(x), moved)
        variables |= moved

        theirs = reference(x)
        weights = torch.randn_like(theirs)
        (theirs * weights).sum().backward()

        @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
        def loss(params, x):
            logits, state = train({**variables, "params": params}, x)
            return jnp.sum(logits * nhwc(weights)), (logits, state)

        (of_params, of_x), (ours, moved) = jax.jit(loss)(variables["params"], nhwc(x))
        check(ours, theirs, moved)
        np.testing.assert_allclose(of_x, nhwc(x.grad), rtol=1e-12, atol=1e-12)
        gradients = to_state_dict(module, {"params": of_params})
        for name, parameter in reference.named_parameters():
            np.testing.assert_allclose(gradients[name], parameter.grad.numpy(), rtol=1e-12, atol=1e-12)
        variables |= moved

        reference.eval()
        check(infer(variables, nhwc(x)), reference(x), moved)
        np.testing.assert_allclose(infer(variables, nhwc(x)), ours, rtol=0, atol=1e-13)  # as the one before
        reference.train()
        ours, moved = train(variables, nhwc(x))
        check(ours, reference(x), moved)


def test_without_skips_and_of_grey_pictures():
    torch = pytest.importorskip("torch")
    from reference import networks

    fields = {"num_feat": 2, "num_in_ch": 1, "skip_connection": False}
    reference, module = networks.UNetDiscriminatorSN(**fields), UNetDiscriminatorSN(**fields)
    x = torch.rand(1, 1, 8, 16)
    with torch.no_grad():
        reference(x)  # before it, singular values are near 0
        expected = nhwc(reference.eval()(x))
    arrays = {name: value.numpy() for name, value in reference.state_dict().items()}
    variables = from_state_dict(module, arrays)
    logits = jax.jit(functools.partial(module.apply, train=False))(variables, nhwc(x))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_sizes():
    shapes = variable_shapes(UNetDiscriminatorSN())
    counts = {
        name: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree)) for name, tree in shapes.items()
    }
    assert counts == {"params": 4_376_897, "spectral_norm": 17_856}
    vectors = shapes["spectral_norm"].values()
    assert sum(layer["weight_u"].shape[0] for layer in vectors) == 1_472
    module = UNetDiscriminatorSN(num_feat=2)
    init = functools.partial(jax.eval_shape, module.init, jax.random.key(0))
    for height, width in ((12, 16), (16, 4)):
        with pytest.raises(ValueError, match=rf"\(={height}, {width}\) must be multiples of 8"):
            init(jnp.zeros((1, height, width, 3)))
    with pytest.raises(ValueError, match="the pictures have 1 channels"):
        init(jnp.zeros((1, 8, 8, 1)))


def test_upsampling_is_torchs():
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 3, 5, 1, dtype=torch.float64)
    expected = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    with jax.enable_x64(True):
        np.testing.assert_allclose(upsample_bilinear(nhwc(x)), nhwc(expected), rtol=0, atol=1e-15)


# --- spectral normalisation ---------------------------------------------------------------------------------


@functools.cache
def layer(dtype="float64", compute=None):
    """A module, its variables, an input, and one forward: (variables, train) -> (output, state)."""
    module = SpectralConv(5, dtype=compute)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 6, 6, 3)).astype(dtype)
    weight = rng.normal(size=(3, 3, 3, 5)).astype(dtype)
    u, v = rng.normal(size=5).astype(dtype), rng.normal(size=27).astype(dtype)
    state = {"weight_u": u / np.linalg.norm(u), "weight_v": v / np.linalg.norm(v)}

    @functools.partial(jax.jit, static_argnums=1)
    def forward(variables, train=True):
        output, moved = module.apply(variables, x, train, mutable=["spectral_norm"])
        return output, moved["spectral_norm"]

    return module, {"params": {"weight_orig": weight}, "spectral_norm": state}, x, forward


def test_gradient_against_finite_differences_with_fixed_vectors():
    with jax.enable_x64(True):
        module, variables, x, forward = layer()
        for _ in range(2):
            variables = {**variables, "spectral_norm": forward(variables)[1]}
        weights = np.random.default_rng(1).normal(size=(1, 6, 6, 5))

        @jax.jit
        def loss(weight):  # in eval mode u and v stand still
            params = {"params": {"weight_orig": weight}, "spectral_norm": variables["spectral_norm"]}
            return jnp.sum(weights * module.apply(params, x, False))

        weight = jnp.asarray(variables["params"]["weight_orig"])
        gradient = jax.jit(jax.grad(loss))(weight)
        for index in ((0, 0, 0, 0), (1, 2, 1, 3), (2, 1, 2, 4)):
            step = jnp.zeros_like(weight).at[index].set(1e-5)
            difference = (loss(weight + step) - loss(weight - step)) / 2e-5
            np.testing.assert_allclose(gradient[index], difference, rtol=1e-6, atol=1e-8)


def test_vectors_move_once_per_forward_in_train_mode_alone():
    with jax.enable_x64(True):
        module, variables, x, forward = layer()
        state = variables["spectral_norm"]
        matrix = np.asarray(variables["params"]["weight_orig"]).transpose(3, 2, 0, 1).reshape(5, -1)
        jax.tree.map(np.testing.assert_array_equal, forward(variables, False)[1], state)
        output, moved = forward(variables)
        v = matrix.T @ state["weight_u"]
        v /= np.linalg.norm(v)
        u = matrix @ v
        u /= np.linalg.norm(u)
        np.testing.assert_allclose(moved["weight_v"], v, rtol=0, atol=1e-14)
        np.testing.assert_allclose(moved["weight_u"], u, rtol=0, atol=1e-14)
        # What cannot be kept counts in this forward all the same.
        np.testing.assert_allclose(module.apply(variables, x, True), output, rtol=0, atol=1e-13)
        for _ in range(60):
            output, moved = forward({**variables, "spectral_norm": moved})
        plain = np.linalg.svd(matrix, compute_uv=False)[0]
        assert moved["weight_u"] @ matrix @ moved["weight_v"] == pytest.approx(plain, rel=1e-6)


def test_the_start():
    x = jnp.zeros((1, 6, 6, 3))
    for vector in SpectralConv(5).init(jax.random.key(0), x, True)["spectral_norm"].values():
        assert np.linalg.norm(vector) == pytest.approx(1)


def test_half_precision_leaves_the_state_in_float32():
    (_, variables, _, full), (*_, half) = layer("float32"), layer("float32", jnp.bfloat16)
    (output, state), (other, same) = full(variables), half(variables)
    assert (output.dtype, other.dtype) == (np.float32, jnp.bfloat16)
    jax.tree.map(np.testing.assert_array_equal, state, same)
    assert 0 < np.abs(output - other.astype(np.float32)).max() < 0.05

    module = UNetDiscriminatorSN(num_feat=2, dtype=jnp.bfloat16)
    forward = functools.partial(module.apply, mutable=["spectral_norm"])
    logits, moved = jax.eval_shape(forward, variable_shapes(module), jnp.zeros((1, 8, 8, 3)))
    assert {leaf.dtype for leaf in jax.tree.leaves((logits, moved))} == {np.dtype(np.float32)}


def test_a_weight_of_zeros_gives_no_infinity_in_the_state():
    _, variables, _, forward = layer("float32")
    zero = jax.tree.map(jnp.zeros_like, variables["params"])
    _, moved = forward({**variables, "params": zero})
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(moved))


def test_state_dict_has_torchs_names():
    module = UNetDiscriminatorSN(num_feat=2)
    arrays = to_state_dict(module, random_variables(module))
    assert arrays["conv4.weight_orig"].shape == (8, 16, 3, 3)
    assert (arrays["conv4.weight_u"].shape, arrays["conv4.weight_v"].shape) == ((8,), (144,))
    assert "conv4.weight" not in arrays
    assert {name.split(".")[0] for name in arrays} == {f"conv{i}" for i in range(10)}
