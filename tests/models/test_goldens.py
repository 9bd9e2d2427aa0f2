"""Every network against numbers that the independent PyTorch reference made (tests/reference)."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import goldens, weights

from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator
from esrgan_jax.weights.convert import from_state_dict, to_state_dict

GOLDENS = goldens.read("networks")
CASES = json.loads(str(GOLDENS["cases"]))
# PyTorch's own float32 is up to 2.7e-5 from its float64 (the discriminator's logits, after ten normalisations);
# `test_float32_against_torch` compares like with like.
TOLERANCE = {"float32": 5e-5, "float64": 1e-10}


def nchw(x):
    return np.asarray(x).transpose(0, 3, 1, 2) if np.ndim(x) == 4 else np.asarray(x)


def nhwc(x):
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def cotangent(case, shape, name="output"):
    n, *rest = shape
    torch_shape = (n, rest[-1], *rest[:-1])
    return nhwc(weights.reference_cotangent(case["seed"], torch_shape, name))


def variables_of(module, shapes, case, dtype):
    state_dict = weights.reference_state_dict(shapes, case["seed"])
    assert weights.fingerprint(state_dict) == GOLDENS[f"{case['name']}/fingerprint"]
    variables = from_state_dict(module, state_dict)
    return jax.tree.map(lambda x: jnp.asarray(x, dtype if x.dtype.kind == "f" else None), variables)


def rrdbnet(case, dtype):
    module = RRDBNet(**case["fields"], param_dtype=dtype)
    variables = variables_of(module, weights.rrdbnet_shapes(**case["fields"]), case, dtype)
    x = jnp.asarray(nhwc(weights.reference_images(case["seed"], case["input_shape"])), dtype)
    output, pullback = jax.jit(lambda v, x: jax.vjp(module.apply, v, x))(variables, x)
    of_params, of_x = jax.jit(pullback)(jnp.asarray(cotangent(case, output.shape), dtype))
    return {"output": nchw(output), "grad/input": nchw(of_x)} | {
        f"grad/{name}": value for name, value in to_state_dict(module, of_params).items()
    }


def discriminator(case, dtype):
    module = VGGStyleDiscriminator(**case["fields"], param_dtype=dtype)
    variables = variables_of(module, weights.discriminator_shapes(**case["fields"]), case, dtype)
    x = jnp.asarray(nhwc(weights.reference_images(case["seed"], case["input_shape"])), dtype)
    target = jnp.asarray(weights.reference_cotangent(case["seed"], (len(x), 1)), dtype)
    infer = jax.jit(functools.partial(module.apply, train=False))

    def loss(params, x):
        logits, moved = module.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return jnp.sum(logits * target), (logits, moved)

    (of_params, of_x), (logits, moved) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], x)
    return {
        "train/logits": logits,
        "eval/logits": infer(variables, x),
        "eval_after/logits": infer({**variables, **moved}, x),
        "grad/input": nchw(of_x),
        **{f"grad/{name}": value for name, value in to_state_dict(module, {"params": of_params}).items()},
        **{f"running/{name}": value for name, value in to_state_dict(module, moved).items()},
    }


def vgg(case, dtype):
    fields = case["fields"] | {"layers": tuple(case["fields"]["layers"])}
    module = VGGFeatureExtractor(**fields, param_dtype=dtype)
    variables = variables_of(module, weights.vgg_shapes(fields["vgg_type"], fields["layers"]), case, dtype)
    x = jnp.asarray(nhwc(weights.reference_images(case["seed"], case["input_shape"])), dtype)

    def loss(x):
        features = module.apply(variables, x)
        means = [jnp.mean(f * jnp.asarray(cotangent(case, f.shape, n), dtype)) for n, f in features.items()]
        return sum(means), features

    of_x, features = jax.jit(jax.grad(loss, has_aux=True))(x)
    return {"grad/input": nchw(of_x)} | {f"features/{name}": nchw(value) for name, value in features.items()}


COMPUTE = {"RRDBNet": rrdbnet, "VGGStyleDiscriminator": discriminator, "VGGFeatures": vgg}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, dtype):
    case = CASES[name] | {"name": name}
    with jax.enable_x64(dtype == "float64"):
        found = COMPUTE[case["network"]](case, dtype)
    expected = {
        key.removeprefix(f"{name}/"): value for key, value in GOLDENS.items() if key.startswith(f"{name}/")
    }
    del expected["fingerprint"]
    assert len(expected) > 1
    for key, value in expected.items():
        mine = goldens.compact(found[key], case["limit"])
        assert mine.dtype == dtype or mine.dtype.kind == "i", key
        error = np.abs(mine - value).max() / np.abs(value).max()
        assert error <= TOLERANCE[dtype], f"{key}: {error:.2g}"


@pytest.mark.parametrize("name", ["rrdbnet_x4", "rrdbnet_x2", "rrdbnet_x1", "discriminator_128", "vgg19"])
def test_float32_against_torch(name):
    torch = pytest.importorskip("torch")
    from reference import networks

    case = CASES[name] | {"name": name}
    found = COMPUTE[case["network"]](case, "float32")
    shapes = {
        "RRDBNet": lambda: weights.rrdbnet_shapes(**case["fields"]),
        "VGGStyleDiscriminator": lambda: weights.discriminator_shapes(**case["fields"]),
        "VGGFeatures": lambda: weights.vgg_shapes(case["fields"]["vgg_type"], case["fields"]["layers"]),
    }[case["network"]]()
    network = getattr(networks, case["network"])(**case["fields"])
    networks.load_arrays(network, weights.reference_state_dict(shapes, case["seed"]))
    x = torch.from_numpy(weights.reference_images(case["seed"], case["input_shape"]))
    with torch.no_grad():
        output = network.float().train()(x.float())
    if case["network"] == "VGGFeatures":
        expected = {f"features/{layer}": value for layer, value in output.items()}
    else:
        expected = {"output" if case["network"] == "RRDBNet" else "train/logits": output}
    for key, value in expected.items():
        error = np.abs(np.asarray(found[key]) - value.numpy()).max() / value.abs().max()
        assert error <= 1e-5, f"{key}: {error:.2g}"
