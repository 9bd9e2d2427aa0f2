"""Write tests/goldens/{pixel,gan_,realesrgan}*.npz: five iterations of each stage in float64, case by case.

    python -m tests.reference.make_training_goldens [--check] [CASE ...]

in the repository's root; --check computes everything again and compares with the committed files.
In each file

    case              JSON: network fields, seeds, batch, iterations, recipe, limit of `compact`
    log/NAME          (iterations,): what the trainer logged; nan where the generator step was skipped
    final/NET/NAME    the state dict of net_g, net_g_ema or net_d after the last iteration, through `compact`
    fingerprint/NET   checksum of the initial weights, as weights.fingerprint gives it
    fingerprint/batches  likewise of {"lr1", "hr1", "lr2", ...}
"""

import argparse
import dataclasses
import json

import numpy as np
import torch

from . import goldens, weights
from .networks import (
    RRDBNet,
    SRVGGNetCompact,
    UNetDiscriminatorSN,
    VGGFeatures,
    VGGStyleDiscriminator,
    load_arrays,
)
from .realesrgan import RealEsrganRecipe, RealEsrganTrainer
from .trainer import Adam, CosineRestarts, GanRecipe, GanTrainer, MultiStep, PixelRecipe, PixelTrainer


@dataclasses.dataclass(frozen=True)
class Case:
    """One golden file. Seeds: of the initial weights of each network, and of the batches."""

    recipe: PixelRecipe | GanRecipe
    seed: int
    limit: int = 1024
    scale: int = 4
    hr_size: int = 128
    vgg_type: str | None = None
    own_ema: bool = False  # the moving average starts from weights of its own (seed + 3), not as a copy of G
    batch: int = 2
    iterations: int = 5

    @property
    def generator(self) -> dict:
        return {"scale": self.scale, "num_feat": 4, "num_block": 1, "num_grow_ch": 2}

    @property
    def discriminator(self) -> dict:
        return {"num_in_ch": 3, "num_feat": 2, "input_size": self.hr_size}

    @property
    def vgg(self) -> dict:
        layers = [layer for layer, _ in self.recipe.layer_weights]
        return {"vgg_type": self.vgg_type, "layers": layers, "use_input_norm": True, "range_norm": False}

    def describe(self) -> dict:
        """Everything needed to run the case again without this file."""
        gan = isinstance(self.recipe, GanRecipe)
        return {
            "stage": "gan" if gan else "pixel",
            "generator": self.generator,
            "discriminator": self.discriminator if gan else None,
            "vgg": self.vgg if self.vgg_type else None,
            "seeds": {
                "net_g": self.seed,
                "net_d": self.seed + 1 if gan else None,
                "vgg": self.seed + 2 if self.vgg_type else None,
                "net_g_ema": self.seed + 3 if self.own_ema else None,
                "batches": self.seed,
            },
            "batch": self.batch,
            "hr_size": self.hr_size,
            "iterations": self.iterations,
            "limit": self.limit,
            "recipe": dataclasses.asdict(self.recipe),
        }


@dataclasses.dataclass(frozen=True)
class RealEsrganCase(Case):
    """The same for RealESRGANModel in paired mode: a discriminator of every pixel, small pictures."""

    limit: int = 256
    hr_size: int = 32
    vgg_type: str | None = "vgg19"
    compact: bool = False  # SRVGGNetCompact instead of RRDBNet

    @property
    def generator(self) -> dict:
        return {"upscale": self.scale, "num_feat": 4, "num_conv": 2} if self.compact else super().generator

    @property
    def discriminator(self) -> dict:
        return {"num_in_ch": 3, "num_feat": 2}

    def describe(self) -> dict:
        return super().describe() | {"scale": self.scale, "compact": self.compact}


# Periods and milestones that matter within five iterations.
SHORT_COSINE = CosineRestarts(periods=(2, 3), restart_weights=(1.0, 0.5), eta_min=1e-7)
SHORT_MULTISTEP = MultiStep(milestones=(2, 4), gamma=0.5)

CASES: dict[str, Case] = {
    "pixel": Case(PixelRecipe(schedule=SHORT_COSINE), seed=11, hr_size=32),
    "pixel_weight_decay": Case(
        PixelRecipe(
            pixel_weight=0.5,
            optimizer_g=Adam(lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
            schedule=SHORT_MULTISTEP,
            ema_decay=0.9,
        ),
        seed=20,
        scale=2,
        hr_size=32,
    ),
    "gan_default": Case(GanRecipe(), seed=30, vgg_type="vgg19"),
    "gan_schedule": Case(
        GanRecipe(
            perceptual_weight=0.5,
            style_weight=20.0,
            layer_weights=(("relu1_1", 0.1), ("conv2_1", 1.0), ("conv3_2", 0.5)),
            gan_weight=0.1,
            optimizer_g=Adam(lr=1e-3, weight_decay=0.05),
            optimizer_d=Adam(lr=5e-4, betas=(0.8, 0.95), weight_decay=0.02),
            schedule=SHORT_MULTISTEP,
            net_d_iters=2,
            net_d_init_iters=1,
            ema_decay=0.9,
        ),
        seed=40,
        vgg_type="vgg11",
        own_ema=True,
    ),
    # In gan_schedule the first generator step is the second iteration with or without net_d_init_iters.
    "gan_init_iters": Case(
        GanRecipe(perceptual_weight=0.0, layer_weights=(), net_d_init_iters=2), seed=50, limit=128
    ),
    "gan_means_2018": Case(
        GanRecipe(
            perceptual_weight=0.0,
            layer_weights=(),
            detach_means=False,
            optimizer_g=Adam(betas=(0.9, 0.999)),
            optimizer_d=Adam(betas=(0.9, 0.999)),
        ),
        seed=60,
        limit=128,
    ),
}
# The second one rests G in every other iteration, and has each flag the other way round.
CASES["realesrgan"] = RealEsrganCase(RealEsrganRecipe(schedule=MultiStep((400_000,))), seed=400)
CASES["realesrgan_d_iters"] = RealEsrganCase(
    RealEsrganRecipe(
        net_d_iters=2,
        l1_gt_usm=False,
        percep_gt_usm=False,
        gan_gt_usm=True,
        schedule=SHORT_MULTISTEP,
        layer_weights=(("conv1_2", 0.1), ("conv2_2", 1.0)),
    ),
    seed=410,
    scale=2,
    compact=True,
)
for _number, _gan_type in enumerate(("vanilla", "lsgan", "wgan", "wgan_softplus", "hinge")):
    for _relativistic in (True, False):
        CASES[f"gan_{_gan_type}_{'relativistic' if _relativistic else 'plain'}"] = Case(
            # Without the perceptual term, which would drown the GAN term in G's gradient.
            GanRecipe(
                perceptual_weight=0.0, layer_weights=(), gan_type=_gan_type, relativistic=_relativistic
            ),
            seed=200 + 20 * _number + 10 * _relativistic,
            limit=128,
        )


def build(case: Case) -> tuple[PixelTrainer | GanTrainer | RealEsrganTrainer, dict[str, int]]:
    """The trainer of a case with its initial weights, and their fingerprints."""
    seeds, prints = case.describe()["seeds"], {}

    def load(name: str, network: torch.nn.Module, shapes: weights.Shapes) -> torch.nn.Module:
        values = weights.reference_state_dict(shapes, seeds[name])
        prints[name] = weights.fingerprint(values)
        return load_arrays(network, values)

    if isinstance(case, RealEsrganCase):
        generator, g_shapes = (
            (SRVGGNetCompact, weights.srvgg_shapes) if case.compact else (RRDBNet, weights.rrdbnet_shapes)
        )
        return RealEsrganTrainer(
            load("net_g", generator(**case.generator), g_shapes(**case.generator)),
            load(
                "net_d", UNetDiscriminatorSN(**case.discriminator), weights.unet_shapes(**case.discriminator)
            ),
            load("vgg", VGGFeatures(**case.vgg), weights.vgg_shapes(case.vgg_type, case.vgg["layers"])),
            case.recipe,
        ), prints
    g_shapes = weights.rrdbnet_shapes(**case.generator)
    net_g = load("net_g", RRDBNet(**case.generator), g_shapes)
    ema = load("net_g_ema", RRDBNet(**case.generator), g_shapes) if case.own_ema else None
    if isinstance(case.recipe, PixelRecipe):
        return PixelTrainer(net_g, case.recipe, ema), prints
    d_shapes = weights.discriminator_shapes(**case.discriminator)
    net_d = load("net_d", VGGStyleDiscriminator(**case.discriminator), d_shapes)
    vgg = None
    if case.vgg_type:
        vgg_shapes = weights.vgg_shapes(case.vgg_type, case.vgg["layers"])
        vgg = load("vgg", VGGFeatures(**case.vgg), vgg_shapes)
    return GanTrainer(net_g, net_d, vgg, case.recipe, ema), prints


def run(case: Case) -> dict[str, np.ndarray | str]:
    trainer, prints = build(case)
    logs, batches = [], {}
    for k in range(1, case.iterations + 1):
        lr, hr = weights.reference_batch(case.seed, k, case.batch, case.hr_size, case.scale)
        batches |= {f"lr{k}": lr, f"hr{k}": hr}
        logs.append(trainer.step(torch.from_numpy(lr), torch.from_numpy(hr)))
    prints["batches"] = weights.fingerprint(batches)

    arrays: dict[str, np.ndarray | str] = {
        "provenance": goldens.provenance("make_training_goldens", torch.__version__),
        "case": json.dumps(case.describe()),
    }
    for name in sorted({name for log in logs for name in log}):
        arrays[f"log/{name}"] = np.array([log.get(name, np.nan) for log in logs])
    for net, state in trainer.states().items():
        for name, value in state.items():
            arrays[f"final/{net}/{name}"] = goldens.compact(value, case.limit)
    for name, value in prints.items():
        arrays[f"fingerprint/{name}"] = np.int64(value)
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all")
    flags = parser.parse_args()
    well = [
        goldens.write_or_check(name, run(CASES[name]), flags.check, limit_kb=300)
        for name in flags.cases or CASES
    ]
    if not all(well):
        raise SystemExit(1)
