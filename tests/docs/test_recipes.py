"""The code of docs/recipes.md, run as it stands there, takes the official trainer's steps."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import goldens, weights

from esrgan_jax.weights.formats import containers

ROOT = Path(__file__).resolve().parents[2]

BEFORE = """
import json, jax
jax.config.update("jax_enable_x64", True)
from reference import weights
case = json.loads(open("case.json").read())
batches = [
    {name: x.transpose(0, 2, 3, 1) for name, x in zip(("lr", "hr"), weights.reference_batch(
        case["seeds"]["batches"], k, case["batch"], case["hr_size"], case["generator"]["scale"]))}
    for k in range(1, case["iterations"] + 1)
]
"""


def test_documented_steps_in_float64(tmp_path):
    golden = goldens.read("gan_default")
    case = json.loads(str(golden["case"]))
    (tmp_path / "case.json").write_text(json.dumps(case))
    shapes = {
        "net_g": weights.rrdbnet_shapes(**case["generator"]),
        "net_d": weights.discriminator_shapes(**case["discriminator"]),
        "vgg": weights.vgg_shapes(case["vgg"]["vgg_type"], case["vgg"]["layers"]),
    }
    for name, file in (("net_g", "net_g"), ("net_d", "net_d"), ("vgg", "vgg19")):
        state_dict = weights.reference_state_dict(shapes[name], case["seeds"][name])
        tree = state_dict if name == "vgg" else {"params": state_dict}
        containers.write(tmp_path / f"{file}.pth", tree)

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.S)
    script = tmp_path / "steps.py"
    script.write_text(BEFORE + code)
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

    lines = [ast.literal_eval(line.split(" ", 1)[1]) for line in done.stdout.splitlines()]
    for name in lines[0]:
        assert [line[name] for line in lines] == pytest.approx(list(golden[f"log/{name}"]), rel=1e-9), name
    saved = containers.read(tmp_path / "net_g_out.pth").tree
    trees = {"net_g": saved["params"], "net_g_ema": saved["params_ema"]}
    trees["net_d"] = containers.read(tmp_path / "net_d_out.pth").tree["params"]
    assert trees["net_d"]["bn0_1.num_batches_tracked"] == 25
    for net, tree in trees.items():
        for key, value in tree.items():
            expected = golden[f"final/{net}/{key}"]
            np.testing.assert_allclose(goldens.compact(value, case["limit"]), expected, rtol=0, atol=1e-9)
