"""State dicts become variables and come back bit for bit; the variables compute what torch computes."""

import jax
import numpy as np
import pytest
from helpers import weight_files

from esrgan_jax.errors import WeightFileError
from esrgan_jax.models import RRDBNet, VGGStyleDiscriminator
from esrgan_jax.weights.convert import from_state_dict, state_dict_shapes, to_state_dict, variable_shapes
from esrgan_jax.weights.network import recognise

NETWORKS = {
    "generator": (RRDBNet(**weight_files.SMALL), weight_files.generator()),
    "x2": (RRDBNet(scale=2, **weight_files.SMALL), weight_files.generator(scale=2)),
    "x8": (RRDBNet(scale=8, num_upsample=3, **weight_files.SMALL), weight_files.generator(upsamples=3)),
    "ESRGAN+": (RRDBNet(conv1x1=True, **weight_files.SMALL), weight_files.generator(plus=True)),
    "discriminator": (VGGStyleDiscriminator(num_feat=2), weight_files.discriminator()),
    "discriminator 256": (VGGStyleDiscriminator(num_feat=2, input_size=256), weight_files.discriminator(256)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_round_trip_is_bit_identical(name):
    module, state_dict = NETWORKS[name]
    variables = from_state_dict(module, state_dict)
    back = to_state_dict(module, variables)
    assert back.keys() == state_dict.keys() == state_dict_shapes(module).keys()
    for key, value in state_dict.items():
        assert back[key].dtype == value.dtype
        assert back[key].tobytes() == value.tobytes()
        assert state_dict_shapes(module)[key] == value.shape


@pytest.mark.parametrize("name", NETWORKS)
def test_round_trip_through_devices(name):
    """JAX has no int64 by default; the counter comes back as one all the same."""
    module, state_dict = NETWORKS[name]
    back = to_state_dict(module, jax.device_put(from_state_dict(module, state_dict)))
    for key, value in state_dict.items():
        assert back[key].dtype == value.dtype
        assert back[key].tobytes() == value.tobytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_variables_own_their_memory_and_fit_the_module(name):
    module, state_dict = NETWORKS[name]
    variables = from_state_dict(module, state_dict)
    for leaf in jax.tree.leaves(variables):
        assert leaf.flags.c_contiguous
        assert leaf.flags.writeable
        assert not any(np.shares_memory(leaf, value) for value in state_dict.values())
    shapes = jax.tree.map(lambda leaf: leaf.shape, variable_shapes(module))
    assert jax.tree.map(np.shape, variables) == shapes


def test_wrong_shapes_and_names():
    module, state_dict = NETWORKS["generator"]
    with pytest.raises(WeightFileError, match=r"here has conv_hr.bias of shape \(5,\), \(4,\) expected"):
        from_state_dict(module, state_dict | {"conv_hr.bias": np.zeros(5)}, "here")
    with pytest.raises(WeightFileError, match=r"here has extra\.bias, which RRDBNet of this size lacks"):
        from_state_dict(module, state_dict | {"extra.bias": np.zeros(5)}, "here")
    with pytest.raises(WeightFileError, match=r"here lacks conv_last\.bias"):
        from_state_dict(module, {k: v for k, v in state_dict.items() if k != "conv_last.bias"}, "here")


# --- against torch ----------------------------------------------------------------------------------------


def old_network(torch, upsamples: int, factor: int, plus: bool):
    """The architecture of 2018 as it was: nn.Sequential, growing, with ESRGAN+'s convolutions if `plus`."""
    nn = torch.nn
    features, growth, blocks = (
        weight_files.SMALL["num_feat"],
        weight_files.SMALL["num_grow_ch"],
        weight_files.SMALL["num_block"],
    )

    def conv(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1)

    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            for k in range(1, 6):
                layers = [conv(features + (k - 1) * growth, growth if k < 5 else features)]
                setattr(self, f"conv{k}", nn.Sequential(*layers, *[nn.LeakyReLU(0.2)] * (k < 5)))
            self.conv1x1 = nn.Conv2d(features, growth, 1, bias=False) if plus else None

        def forward(self, x):
            x1 = self.conv1(x)
            x2 = self.conv2(torch.cat((x, x1), 1))
            if self.conv1x1 is not None:
                x2 = x2 + self.conv1x1(x)
            x3 = self.conv3(torch.cat((x, x1, x2), 1))
            x4 = self.conv4(torch.cat((x, x1, x2, x3), 1))
            if self.conv1x1 is not None:
                x4 = x4 + x2
            return self.conv5(torch.cat((x, x1, x2, x3, x4), 1)) * 0.2 + x

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.RDB1, self.RDB2, self.RDB3 = Dense(), Dense(), Dense()

        def forward(self, x):
            return self.RDB3(self.RDB2(self.RDB1(x))) * 0.2 + x

    class Shortcut(nn.Module):
        def __init__(self, sub):
            super().__init__()
            self.sub = sub

        def forward(self, x):
            return x + self.sub(x)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            trunk = nn.Sequential(*[Block() for _ in range(blocks)], conv(features, features))
            layers = [conv(3, features), Shortcut(trunk)]
            for _ in range(upsamples):
                layers += [nn.Upsample(scale_factor=factor), conv(features, features), nn.LeakyReLU(0.2)]
            layers += [conv(features, features), nn.LeakyReLU(0.2), conv(features, 3)]
            self.model = nn.Sequential(*layers)

        def forward(self, x):
            return self.model(x)

    torch.manual_seed(0)
    return Network()


@pytest.mark.parametrize(
    ("upsamples", "scale", "plus"),
    [(0, 1, False), (1, 2, False), (1, 3, False), (2, 4, False), (3, 8, False), (2, 4, True), (1, 2, True)],
)
def test_old_networks_compute_what_they_did_in_torch(upsamples, scale, plus):
    torch = pytest.importorskip("torch")
    original = old_network(torch, upsamples, 3 if scale == 3 else 2, plus)
    state_dict = {name: value.numpy() for name, value in original.state_dict().items()}
    network = recognise(state_dict, "file", scale=scale)
    assert network.dialect == ("ESRGAN+" if plus else "old")
    variables = from_state_dict(network.module, network.state_dict)
    x = np.random.default_rng(0).random((1, 7, 9, 3), np.float32)
    with torch.no_grad():
        expected = original(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(network.module.apply(variables, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("input_size", [128, 256])
def test_discriminators_compute_what_they_did_in_torch(input_size):
    """The order in which linear1 sees the last feature map, and the running statistics."""
    torch = pytest.importorskip("torch")
    from reference.networks import VGGStyleDiscriminator as Reference
    from reference.networks import load_arrays

    state_dict = weight_files.discriminator(input_size)
    original = load_arrays(Reference(num_feat=2, input_size=input_size), state_dict).eval()
    network = recognise(state_dict, "file")
    variables = from_state_dict(network.module, network.state_dict)
    x = np.random.default_rng(0).random((2, input_size, input_size, 3), np.float32)
    with torch.no_grad():
        expected = original(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    result = network.module.apply(variables, x, train=False)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
