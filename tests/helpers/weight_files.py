"""Small state dicts in every dialect, and files around them; the names are written here anew, by hand.

The package's own table of names is what the tests test, so nothing of it is used.
"""

import re
import struct
from pathlib import Path

import numpy as np
from reference.weights import discriminator_shapes, reference_state_dict, rrdbnet_shapes

SMALL = {"num_feat": 4, "num_block": 2, "num_grow_ch": 2}
TINY = {"num_feat": 2, "num_block": 1, "num_grow_ch": 1}

StateDict = dict[str, np.ndarray]


def generator(scale: int = 4, upsamples: int = 2, seed: int = 0, plus: bool = False, **sizes) -> StateDict:
    """A generator's state dict under official names, float32."""
    sizes = sizes or SMALL
    shapes = rrdbnet_shapes(scale, **sizes)
    features, growth = sizes["num_feat"], sizes["num_grow_ch"]
    for n in range(3, upsamples + 1):
        shapes |= {f"conv_up{n}.weight": (features, features, 3, 3), f"conv_up{n}.bias": (features,)}
    for n in range(2, upsamples, -1):
        del shapes[f"conv_up{n}.weight"], shapes[f"conv_up{n}.bias"]
    if plus:
        for i in range(sizes["num_block"]):
            for j in (1, 2, 3):
                shapes[f"body.{i}.rdb{j}.conv1x1.weight"] = (growth, features, 1, 1)
    return to_float32(reference_state_dict(shapes, seed))


def discriminator(input_size: int = 128, num_feat: int = 2, seed: int = 0) -> StateDict:
    """A discriminator's state dict, float32 (num_batches_tracked int64, not zero)."""
    state_dict = to_float32(reference_state_dict(discriminator_shapes(3, num_feat, input_size), seed))
    for name in state_dict:
        if name.endswith("num_batches_tracked"):
            state_dict[name] = np.array(12345, np.int64)
    return state_dict


def to_float32(state_dict: StateDict) -> StateDict:
    return {name: x.astype(np.float32) if x.dtype.kind == "f" else x for name, x in state_dict.items()}


def to_middle(state_dict: StateDict) -> StateDict:
    """The ESRGAN test repository's names."""
    names = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    return {
        re.sub(
            r"body\.(\d+)\.rdb(\d)",
            r"RRDB_trunk.\1.RDB\2",
            ".".join([names.get(name.split(".")[0], name.split(".")[0]), *name.split(".")[1:]]),
        ): value
        for name, value in state_dict.items()
    }


def to_old(state_dict: StateDict) -> StateDict:
    """The names of 2018: nn.Sequential counts every layer, activation and upsampling."""
    ups = sum(bool(re.fullmatch(r"conv_up\d\.bias", name)) for name in state_dict)
    blocks = 1 + max(int(name.split(".")[1]) for name in state_dict if name.startswith("body."))
    # 0 first; 1 trunk with shortcut; then for each upsampling: upsample, conv, lrelu; then HR, lrelu, last
    position = {"conv_first": "0", "conv_body": f"1.sub.{blocks}"}
    position |= {f"conv_up{n}": str(2 + 3 * (n - 1) + 1) for n in range(1, ups + 1)}
    position |= {"conv_hr": str(2 + 3 * ups), "conv_last": str(2 + 3 * ups + 2)}
    result = {}
    for name, value in state_dict.items():
        layer, field = name.rsplit(".", 1)
        if match := re.fullmatch(r"body\.(\d+)\.rdb(\d)\.(conv1x1|conv\d)", layer):
            i, j, conv = match.groups()
            sequential = "" if conv == "conv1x1" else ".0"
            result[f"model.1.sub.{i}.RDB{j}.{conv}{sequential}.{field}"] = value
        else:
            result[f"model.{position[layer]}.{field}"] = value
    return result


DIALECTS = {"new": dict, "middle": to_middle, "old": to_old}


def prefixed(state_dict: StateDict, prefix: str) -> StateDict:
    return {prefix + name: value for name, value in state_dict.items()}


WRAPPERS = {
    "bare": lambda s: s,
    "params": lambda s: {"params": s},
    "params_ema": lambda s: {"params_ema": s},
    "params-ema": lambda s: {"params-ema": s},
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {}, "lr": 0.1}},
    "model": lambda s: {"model": s},
    "net": lambda s: {"net": s},
    "module.": lambda s: prefixed(s, "module."),
    "netG.": lambda s: prefixed(s, "netG."),
    "state_dict/generator.": lambda s: {"meta": {"iter": 7}, "state_dict": prefixed(s, "generator.")},
    "state_dict/generator_ema.": lambda s: {"state_dict": prefixed(s, "generator_ema.")},
    "params/module.": lambda s: {"params": prefixed(s, "module.")},
}


def map_arrays(function, tree):
    """The same dicts with `function` applied to every array in them."""
    if isinstance(tree, dict):
        return {key: map_arrays(function, value) for key, value in tree.items()}
    return function(tree) if isinstance(tree, np.ndarray) else tree


def write_tar(path: Path, tree) -> None:
    """A .pth as torch 0.1.x wrote it, which no torch writes any more: a tar of three files."""
    import io
    import pickle
    import tarfile

    import torch

    arrays: list[np.ndarray] = []
    storages, tensors = io.BytesIO(), io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            if not isinstance(thing, np.ndarray):
                return None
            arrays.append(thing)
            return str(2 * len(arrays))

    body = io.BytesIO()
    Pickler(body, protocol=2).dump(tree)
    pickle.dump(len(arrays), storages, protocol=2)
    pickle.dump(len(arrays), tensors, protocol=2)
    classes = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long"}
    for i, array in enumerate(arrays, 1):
        name = classes[str(array.dtype)]
        pickle.dump((2 * i - 1, "cpu", getattr(torch, f"{name}Storage")), storages, protocol=2)
        storages.write(struct.pack("<q", array.size) + array.tobytes())
        pickle.dump((2 * i, 2 * i - 1, getattr(torch, f"{name}Tensor")), tensors, protocol=2)
        strides = [s // array.itemsize for s in array.strides]
        tensors.write(struct.pack("<ii", array.ndim, 0))
        tensors.write(struct.pack(f"<{2 * array.ndim + 1}q", *array.shape, *strides, 0))
    pickle.dump([], storages, protocol=2)
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, file in (
            ("sys_info", io.BytesIO()),
            ("pickle", body),
            ("tensors", tensors),
            ("storages", storages),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(file.getvalue())
            tar.addfile(entry, io.BytesIO(file.getvalue()))


def odd_tensors() -> StateDict:
    """Shapes and values that storages and strides have to get right; the generator script makes views of them."""
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    return {
        "plain": x,
        "transposed": x.transpose(2, 0, 1),
        "every_other": x[:, :, ::2],
        "offset": x[1],
        "one_axis": x[:, :1],
        "expanded": np.broadcast_to(x[0, 0, :1], (5, 1)),
        "scalar": x[1, 2, 3],
        "empty": np.empty((0, 3), np.float32),
    }
