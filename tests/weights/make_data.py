"""Makes tests/weights/data with real torch: PYTHONPATH=tests python tests/weights/make_data.py

Made with torch 2.13; the values are those of tests/helpers/weight_files.py, so the tests know what must come out.
"""

from pathlib import Path

import numpy as np
import torch
from helpers import weight_files
from safetensors.torch import save_file

DATA = Path(__file__).parent / "data"


def to_torch(tree, dtype=None):
    return weight_files.map_arrays(
        lambda x: torch.from_numpy(np.ascontiguousarray(x)).to(dtype or None), tree
    )


def odd_tensors():
    """weight_files.odd_tensors as views of two storages, and one parameter."""
    x = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    return {
        "plain": torch.nn.Parameter(x),
        "transposed": x.permute(2, 0, 1),
        "every_other": x[:, :, ::2],
        "offset": x[1],
        "one_axis": x[:, :1],
        "expanded": x[0, 0, :1].expand(5, 1),
        "scalar": x[1, 2, 3],
        "empty": torch.empty(0, 3),
    }


def main() -> None:
    DATA.mkdir(exist_ok=True)
    tiny = weight_files.generator(**weight_files.TINY)
    legacy = {"_use_new_zipfile_serialization": False}
    both = {
        "params": to_torch(tiny),
        "params_ema": to_torch(weight_files.generator(seed=1, **weight_files.TINY)),
    }
    torch.save(both, DATA / "zip_new_both.pth")
    torch.save(to_torch(weight_files.to_old(tiny)), DATA / "legacy_old_bare.pth", **legacy)
    torch.save(
        to_torch({"state_dict": weight_files.to_middle(tiny)}, torch.float16),
        DATA / "legacy_middle_half.pth",
        **legacy,
    )
    weight_files.write_tar(DATA / "tar_old_bare.pth", weight_files.to_old(tiny))
    save_file(to_torch(tiny, torch.bfloat16), DATA / "new_bfloat16.safetensors")
    weight_files.write_tar(
        DATA / "tar_odd.pth", {"plain": tiny["conv_first.weight"], "bias": tiny["conv_first.bias"]}
    )
    torch.save(odd_tensors(), DATA / "zip_odd.pth")
    torch.save(odd_tensors(), DATA / "legacy_odd.pth", **legacy)
    dtypes = ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    torch.save({name: torch.arange(3).to(getattr(torch, name)) for name in dtypes}, DATA / "zip_dtypes.pth")
    for path in sorted(DATA.iterdir()):
        path.chmod(0o644)
        print(f"{path.stat().st_size:>7,} {path.name}")


if __name__ == "__main__":
    main()
