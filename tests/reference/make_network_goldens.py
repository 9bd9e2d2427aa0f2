"""Write tests/goldens/networks.npz: outputs and gradients of the three networks in float64.

    python -m tests.reference.make_network_goldens [--check]

in the repository's root; --check computes it again and compares with the committed file. Keys:

    cases                    JSON {CASE: network, fields, limit of `compact`, input shape, and the one seed of
                             weights, input and cotangent}
    CASE/fingerprint         checksum of the weights, as weights.fingerprint gives it
    CASE/output              RRDBNet
    CASE/train/logits        discriminator, in train mode; the gradients are of this forward
    CASE/running/NAME        its running statistics after that one forward
    CASE/eval/logits         in eval mode before it, CASE/eval_after/logits after it
    CASE/features/LAYER      VGG
    CASE/grad/input          gradient of sum(output * weights.reference_cotangent(seed, shape)); for VGG of
    CASE/grad/NAME           the sum over layers of mean(features * reference_cotangent(.., LAYER))

Arrays are NCHW and OIHW, through `compact`.
"""

import argparse
import json

import numpy as np
import torch

from . import goldens, weights
from .networks import RRDBNet, VGGFeatures, VGGStyleDiscriminator, load_arrays

RRDBNET_PARAMETERS = (
    "conv_first.weight",
    "body.1.rdb2.conv3.weight",
    "body.0.rdb1.conv5.bias",
    "conv_up2.weight",
    "conv_last.bias",
)
DISCRIMINATOR_PARAMETERS = (
    "conv0_0.weight",
    "conv0_0.bias",
    "conv0_1.weight",
    "bn0_1.weight",
    "bn2_1.bias",
    "conv3_1.weight",
    "linear1.weight",
    "linear1.bias",
    "linear2.weight",
    "linear2.bias",
)


def _case(network: str, seed: int, limit: int, input_shape: tuple[int, ...], **fields) -> dict:
    return {"network": network, "fields": fields, "seed": seed, "limit": limit, "input_shape": input_shape}


CASES = {
    "rrdbnet_x4": _case("RRDBNet", 1, 700, (2, 3, 8, 12), scale=4, num_feat=8, num_block=2, num_grow_ch=4),
    "rrdbnet_x2": _case("RRDBNet", 2, 700, (2, 3, 8, 12), scale=2, num_feat=8, num_block=2, num_grow_ch=4),
    "rrdbnet_x1": _case("RRDBNet", 3, 700, (2, 3, 8, 12), scale=1, num_feat=8, num_block=2, num_grow_ch=4),
    "discriminator_128": _case(
        "VGGStyleDiscriminator", 4, 700, (3, 3, 128, 128), num_in_ch=3, num_feat=4, input_size=128
    ),
    "discriminator_256": _case(
        "VGGStyleDiscriminator", 5, 100, (2, 3, 256, 256), num_in_ch=3, num_feat=2, input_size=256
    ),
    "vgg11": _case(
        "VGGFeatures",
        6,
        200,
        (1, 3, 64, 64),
        vgg_type="vgg11",
        layers=("conv1_1", "relu2_1", "pool3", "conv5_2"),
        use_input_norm=True,
        range_norm=True,
    ),
    "vgg13": _case(
        "VGGFeatures",
        7,
        200,
        (1, 3, 64, 64),
        vgg_type="vgg13",
        layers=("relu1_2", "conv3_2", "pool5"),
        use_input_norm=False,
        range_norm=False,
    ),
    "vgg16": _case(
        "VGGFeatures",
        8,
        200,
        (1, 3, 64, 64),
        vgg_type="vgg16",
        layers=("pool2", "relu3_3", "conv5_3"),
        use_input_norm=True,
        range_norm=False,
    ),
    "vgg19": _case(
        "VGGFeatures",
        9,
        200,
        (1, 3, 64, 64),
        vgg_type="vgg19",
        layers=("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"),
        use_input_norm=True,
        range_norm=False,
    ),
}


def _input(case: dict) -> torch.Tensor:
    return torch.from_numpy(weights.reference_images(case["seed"], case["input_shape"])).requires_grad_()


def _weighted_sum(case: dict, output: torch.Tensor, name: str = "output") -> torch.Tensor:
    return (output * torch.from_numpy(weights.reference_cotangent(case["seed"], output.shape, name))).sum()


def _gradients(network: torch.nn.Module, x: torch.Tensor, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    parameters = dict(network.named_parameters())
    return {"grad/input": x.grad, **{f"grad/{name}": parameters[name].grad for name in names}}


def run_rrdbnet(case: dict) -> tuple[dict, dict]:
    values = weights.reference_state_dict(weights.rrdbnet_shapes(**case["fields"]), case["seed"])
    network = load_arrays(RRDBNet(**case["fields"]), values)
    x = _input(case)
    output = network(x)
    _weighted_sum(case, output).backward()
    return values, {"output": output, **_gradients(network, x, RRDBNET_PARAMETERS)}


def run_discriminator(case: dict) -> tuple[dict, dict]:
    values = weights.reference_state_dict(weights.discriminator_shapes(**case["fields"]), case["seed"])
    network = load_arrays(VGGStyleDiscriminator(**case["fields"]), values)
    x = _input(case)
    with torch.no_grad():
        found = {
            "eval/logits": network.eval()(x)
        }  # with the running statistics of the weights, before any train step
    logits = network.train()(x)
    _weighted_sum(case, logits).backward()
    found |= {"train/logits": logits, **_gradients(network, x, DISCRIMINATOR_PARAMETERS)}
    found |= {
        f"running/{name}": value.clone() for name, value in network.named_buffers()
    }  # after one forward
    with torch.no_grad():
        found["eval_after/logits"] = network.eval()(x)
    return values, found


def run_vgg(case: dict) -> tuple[dict, dict]:
    fields = case["fields"]
    values = weights.reference_state_dict(
        weights.vgg_shapes(fields["vgg_type"], fields["layers"]), case["seed"]
    )
    network = load_arrays(VGGFeatures(**fields), values)
    x = _input(case)
    features = network(x)
    # Each layer counts by its mean, or the wide early layers would drown the deep ones.
    sum(_weighted_sum(case, value, name) / value.numel() for name, value in features.items()).backward()
    return values, {**{f"features/{name}": value for name, value in features.items()}, "grad/input": x.grad}


def make() -> dict[str, np.ndarray | str]:
    run = {"RRDBNet": run_rrdbnet, "VGGStyleDiscriminator": run_discriminator, "VGGFeatures": run_vgg}
    arrays: dict[str, np.ndarray | str] = {
        "provenance": goldens.provenance("make_network_goldens", torch.__version__),
        "cases": json.dumps(CASES),
    }
    for name, case in CASES.items():
        values, found = run[case["network"]](case)
        arrays[f"{name}/fingerprint"] = np.int64(weights.fingerprint(values))
        for key, value in found.items():
            arrays[f"{name}/{key}"] = goldens.compact(value.detach().numpy(), case["limit"])
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    if not goldens.write_or_check("networks", make(), check, limit_kb=200):
        raise SystemExit(1)
