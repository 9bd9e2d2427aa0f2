"""Breaks the code in one place at a time and checks that a test notices: `python tests/soak/mutations.py [NAME ...]`.

Each mutation replaces one text in a copy of the package and runs the tests named with it; it passes if they fail.
About a quarter of a minute for each; not part of the suite.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = "tests/training/test_goldens.py::test_five_iterations_in_float64"
GUARD = "tests/training/test_guard.py"
MASK = "tests/models/test_mask.py"
UPSCALER = "tests/inference/test_upscaler.py"


class Mutation(NamedTuple):
    """What is broken: a text of a file, what takes its place, and the test that must fail."""

    file: str
    old: str
    new: str
    test: str


MUTATIONS = {
    # D(hr) does not depend on G, so that no number of a training step shows this one; the loss's gradient does.
    "detach of D(hr)": Mutation(
        "training/losses.py",
        "real_logits = lax.stop_gradient(real_logits)",
        "pass",
        "tests/training/test_losses.py::test_where_gradients_go",
    ),
    "detach of the means in D": Mutation(
        "training/losses.py", "if self.detach_means:", "if False:", f"{GOLDENS}[gan_vanilla_relativistic]"
    ),
    "the 0.5 of l_d_real": Mutation(
        "training/losses.py",
        "l_d_real = 0.5 * self._loss",
        "l_d_real = 1.0 * self._loss",
        f"{GOLDENS}[gan_vanilla_relativistic]",
    ),
    "the half of l_g_gan": Mutation(
        "training/losses.py",
        "return (real + fake) / 2",
        "return real + fake",
        f"{GOLDENS}[gan_vanilla_relativistic]",
    ),
    "order of the statistics": Mutation(
        "training/steps.py",
        "forwards_in_generator_step = (hr, sr) if",
        "forwards_in_generator_step = (sr, hr) if",
        f"{GOLDENS}[gan_vanilla_relativistic]",
    ),
    "unbiased variance": Mutation(
        "models/layers.py", "(count / max(count - 1, 1))", "1.0", f"{GOLDENS}[gan_vanilla_relativistic]"
    ),
    "EMA timing": Mutation(
        "training/state.py",
        "update_ema(self.ema, params, ema_decay)",
        "update_ema(self.ema, self.params, ema_decay)",
        f"{GOLDENS}[pixel]",
    ),
    "slope 0.2": Mutation(
        "models/layers.py",
        "jnp.where(x > 0, x, 0.2 * x)",
        "jnp.where(x > 0, x, 0.1 * x)",
        f"{GOLDENS}[pixel]",
    ),
    "residual scale 0.2 of a dense block": Mutation(
        "models/rrdbnet.py", "SAVED_FOR_BACKWARD) * 0.2", "SAVED_FOR_BACKWARD) * 0.1", f"{GOLDENS}[pixel]"
    ),
    "residual scale 0.2 of an RRDB": Mutation(
        "models/rrdbnet.py", "y * 0.2 + x", "y * 0.1 + x", f"{GOLDENS}[pixel]"
    ),
    "schedule offset": Mutation(
        "training/optimizers.py",
        "rate = schedule(finished)",
        "rate = schedule(finished + 1)",
        f"{GOLDENS}[pixel]",
    ),
    "L1 mean": Mutation(
        "training/losses.py",
        "jnp.mean(jnp.abs(pred - target))",
        "jnp.sum(jnp.abs(pred - target))",
        f"{GOLDENS}[pixel]",
    ),
    "first generator step": Mutation(
        "training/steps.py",
        "(iteration > net_d_init_iters)",
        "(iteration >= net_d_init_iters)",
        f"{GOLDENS}[gan_init_iters]",
    ),
    "update that is not finite": Mutation(
        "training/state.py",
        "jnp.where(finite, new, old)",
        "new",
        f"{GUARD}::test_pixel_iterations_in_a_row",
    ),
    "loss that is not finite": Mutation(
        "training/state.py",
        "jax.tree.leaves((norm, losses, model_state))",
        "jax.tree.leaves(norm)",
        f"{GUARD}::test_pixel_iterations_in_a_row",
    ),
    "skipped in a row": Mutation(
        "training/state.py",
        "jnp.where(finite, 0, self.in_a_row + 1)",
        "jnp.where(finite, self.in_a_row, self.in_a_row + 1)",
        f"{GUARD}::test_pixel_iterations_in_a_row",
    ),
    "statistics of a skipped update": Mutation(
        "training/state.py",
        "chosen.replace(finished=iteration,",
        "chosen.replace(model_state=model_state, finished=iteration,",
        f"{GUARD}::test_generator_rests_in_a_bad_iteration",
    ),
    "mask behind the trunk": Mutation(
        "models/rrdbnet.py",
        "masked(leaky_relu(self.conv_hr(x)), mask)",
        "leaky_relu(self.conv_hr(x))",
        f"{MASK}::test_mask_ends_the_picture",
    ),
    "mask in a dense block": Mutation(
        "models/rrdbnet.py", "masked(grown, mask)", "grown", f"{MASK}::test_mask_ends_the_picture"
    ),
    "receptive radius": Mutation(
        "models/rrdbnet.py",
        "15 * self.num_block + 4",
        "15 * self.num_block + 2",
        f"{MASK}::test_receptive_radius",
    ),
    "rim of a band": Mutation(
        "models/rrdbnet.py",
        "head_radius: ClassVar = 2",
        "head_radius: ClassVar = 1",
        "tests/inference/test_chain.py::test_chain",
    ),
    "mask of a turned tile": Mutation(
        "inference/orientation.py",
        "(side - height, side) if self.upside_down else (0, height)",
        "(0, height)",
        f"{UPSCALER}::test_ensemble_turns_the_mask_too",
    ),
    "blended rim of a strip": Mutation(
        "inference/tiling.py",
        "strip[: len(carry)] = carry",
        "pass",
        "tests/inference/test_tiling.py::test_stitch_gives_the_picture_back",
    ),
    "a tile that is not finite": Mutation(
        "inference/tile_network.py",
        "if finite[i] else",
        "if True else",
        f"{UPSCALER}::test_half_precision_that_overflows_is_computed_again",
    ),
    "strips after an interruption": Mutation(
        "inference/upscaler.py",
        "strip[max(finished - y, 0) :]",
        "strip[0:]",
        f"{UPSCALER}::test_out_of_memory_in_the_middle_keeps_what_is_finished",
    ),
    "ties of max_pool": Mutation(
        "models/layers.py",
        "(a >= b)",
        "(a > b)",
        "tests/models/test_networks.py::test_max_pool_gives_the_gradient_to_the_first_of_equal_ones",
    ),
}


def survives(mutation: Mutation) -> bool:
    """Whether the tests pass in spite of the mutation."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("esrgan_jax", "tests", "configs", "train.py", "pyproject.toml"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        file = copy / "esrgan_jax" / mutation.file
        text = file.read_text()
        if mutation.old not in text:
            raise SystemExit(f"{mutation.file} no longer has {mutation.old!r}: mend tests/soak/mutations.py.")
        file.write_text(text.replace(mutation.old, mutation.new, 1))
        # "." first, or an installed package would be tested instead of the copy.
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-o",
            "addopts=--import-mode=importlib",
            mutation.test,
        ]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"pytest itself failed:\n{done.stdout}\n{done.stderr}")
        return done.returncode == 0


if __name__ == "__main__":
    survivors = []
    for name in sys.argv[1:] or MUTATIONS:
        survived = survives(MUTATIONS[name])
        survivors += [name] * survived
        print(f"{name}: {'SURVIVED' if survived else 'noticed'}", flush=True)
    raise SystemExit(f"not noticed: {', '.join(survivors)}" if survivors else 0)
