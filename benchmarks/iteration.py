"""The iteration that is measured: our stage as configs/x4.py has it, with random weights, its batch, its work."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def find_project() -> None:
    """Lets this checkout be imported where it is not installed."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def make_stage(options: argparse.Namespace, devices: Any) -> tuple[Any, dict[str, Any]]:
    """The iteration of a stage as configs/x4.py has it, with random weights, and its states on the host."""
    import jax.numpy as jnp

    from esrgan_jax.models import RRDBNet, VGGFeatureExtractor, VGGStyleDiscriminator
    from esrgan_jax.models.network import initial_variables
    from esrgan_jax.system import parallel
    from esrgan_jax.training.losses import Perceptual
    from esrgan_jax.training.optimizers import Optimizer, multistep_schedule
    from esrgan_jax.training.recipe import GanRecipe, PixelRecipe

    dtype = None if options.dtype == "float32" else jnp.dtype(options.dtype)
    generator = RRDBNet(
        num_feat=options.num_feat,
        num_block=options.num_block,
        num_grow_ch=options.num_feat // 2,
        remat=options.remat,
        dtype=dtype,
    )
    optimizer = Optimizer(multistep_schedule(1e-4, (50_000, 100_000, 200_000, 300_000)))
    if options.stage == "pixel":
        pixel = PixelRecipe(generator, optimizer)
        return pixel.build(devices), pixel.initial_states(0)
    discriminator = VGGStyleDiscriminator(axis_name=parallel.AXIS, dtype=dtype)
    vgg = VGGFeatureExtractor("vgg19", ("conv5_4",), dtype=dtype)
    perceptual = Perceptual(vgg, initial_variables(vgg, 2))
    gan = GanRecipe(generator, discriminator, optimizer, optimizer, perceptual=perceptual)
    return gan.build(devices), gan.initial_states(1)


def make_batch(batch: int, patch: int) -> dict[str, Any]:
    """Noise, uint8, as the data pipeline hands it over."""
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = {"lr": patch // 4, "hr": patch}
    return {
        name: rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8) for name, size in shapes.items()
    }


def operations(stage: str, batch: int, patch: int, feat: int, blocks: int) -> float:
    """Floating-point operations an iteration needs at least: two for each multiply-add."""
    side, grow = patch // 4, feat // 2
    dense = sum(9 * (feat + k * grow) * (feat if k == 4 else grow) for k in range(5))
    trunk = 9 * 3 * feat + 3 * blocks * dense + 9 * feat * feat
    enlarging = 9 * feat * feat
    g = side**2 * (trunk + 4 * enlarging + 16 * (2 * enlarging + 9 * feat * 3))
    if stage == "pixel":
        return 2.0 * batch * 3 * g
    d, channels, size = 0, 3, patch
    for i in range(5):
        width = 64 * min(2**i, 8)
        d += size**2 * 9 * channels * width + (size // 2) ** 2 * 16 * width**2
        channels, size = width, size // 2
    d += 8192 * 100
    vgg, channels, size = 0, 3, patch
    for width, convs in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(convs):
            vgg += size**2 * 9 * channels * width
            channels = width
        size //= 2
    # VGG and D for G: hr and sr forward, one gradient of sr. D for itself: both forward and both gradients of both.
    return 2.0 * batch * (3 * g + 3 * vgg + 3 * d + 6 * d)
