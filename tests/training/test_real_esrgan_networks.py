"""SRVGGNetCompact and UNetDiscriminatorSN in both stages: chosen by their types alone, the same on any devices."""

import jax
import numpy as np
import pytest
from helpers.variables import random_variables

from configs import quickstart
from esrgan_jax.errors import ConfigError
from esrgan_jax.models import SRVGGNetCompact, UNetDiscriminatorSN
from esrgan_jax.system import parallel
from esrgan_jax.training import configuration
from esrgan_jax.training.losses import GANLoss
from esrgan_jax.training.optimizers import Optimizer
from esrgan_jax.training.recipe import GanRecipe, recipe_from_config


def chosen(**fields):
    config = quickstart.get_config()
    config.network_g.type = "SRVGGNetCompact"
    config.network_d.type = "UNetDiscriminatorSN"
    config.update_from_flattened_dict(fields)
    return config


def test_types_alone_choose_the_networks():
    """What the configuration says of RRDBNet is not used, what it says of both is."""
    config = chosen(**{"network_g.num_conv": 3, "gan.gt_size": 40})
    configuration.check(config.to_dict(), 1)
    recipe = recipe_from_config(config, "gan")
    assert recipe.generator == SRVGGNetCompact(num_feat=16, num_conv=3)
    assert recipe.discriminator == UNetDiscriminatorSN(num_feat=8)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"gan.gt_size": 36},
            r"gan\.gt_size \(=36\) is no size for network_d\.type=UNetDiscriminatorSN: .* multiples of 8",
        ),
        ({"network_g.num_conv": 0}, r"network_g\.num_conv \(=0\) must be 1 or larger"),
    ],
    ids=str,
)
def test_what_cannot_be_trained(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        configuration.check(chosen(**fields).to_dict(), 1)


def power_steps(variables, count):
    """The state after so many forwards in train mode, while the weights stand still."""
    state = {}
    for name, vectors in variables["spectral_norm"].items():
        weight = np.asarray(variables["params"][name]["weight_orig"])
        matrix, u = weight.transpose(3, 2, 0, 1).reshape(weight.shape[3], -1), vectors["weight_u"]
        for _ in range(count):
            v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
            u = matrix @ v / np.linalg.norm(matrix @ v)
        state[name] = {"weight_u": u, "weight_v": v}
    return {"spectral_norm": state}


@pytest.mark.parametrize(
    ("relativistic", "forwards", "counts"), [(True, 5, (1, 2)), (False, 3, (2,))], ids=str
)
def test_gan_iterations_on_any_devices(relativistic, forwards, counts):
    results = []
    with jax.enable_x64(True):
        generator = SRVGGNetCompact(scale=2, num_feat=3, num_conv=1, param_dtype="float64")
        discriminator = UNetDiscriminatorSN(num_feat=2, param_dtype="float64")
        optimizer = Optimizer(lambda _: 1e-3)
        gan_loss = GANLoss("vanilla", relativistic, True)
        recipe = GanRecipe(generator, discriminator, optimizer, optimizer, gan_loss=gan_loss)
        d_variables = random_variables(discriminator, 2, "float64")
        for count in counts:
            devices = jax.local_devices()[:count]
            params = random_variables(generator, 1, "float64")["params"]
            states = parallel.replicate(recipe.initial_states(0, params, None, d_variables), devices)
            iterate, found = recipe.build(devices), []
            for k in (1, 2):
                rng = np.random.default_rng(k)
                batch = {"lr": rng.random((2, 8, 8, 3)), "hr": rng.random((2, 16, 16, 3))}
                states, metrics = iterate(states, parallel.shard(batch, devices), k)
                found.append(jax.device_get((states, metrics)))
            results.append(found)
    for other in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), results[0], other)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12),
        results[0][0][0]["d"].model_state,
        power_steps(d_variables, forwards),
    )
