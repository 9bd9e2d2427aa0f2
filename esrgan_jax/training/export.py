"""The networks at the end of a stage as files for other programs, named as BasicSR names them."""

from __future__ import annotations

from pathlib import Path

from esrgan_jax.models import RRDBNet
from esrgan_jax.training.stages import GanStage, Stage, States
from esrgan_jax.weights.save import save_discriminator, save_generator


def export(run_folder: Path, generator: RRDBNet, stage: Stage, states: States, again: bool) -> None:
    """Writes models/<stage>/net_g_<iteration>.pth and, of the GAN stage, net_d_<iteration>.pth.

    A folder for each stage, because both may have the same number of iterations. Files that are there stay,
    unless they are to be written `again`.

    Raises:
      WeightFileError: a file cannot be written.
    """
    folder = run_folder / "models" / stage.name
    g = states["g"]
    path = folder / f"net_g_{int(g.finished)}.pth"
    if again or not path.exists():
        save_generator(path, generator, g.params, g.ema)
    if isinstance(stage, GanStage):
        d = states["d"]
        path = folder / f"net_d_{int(d.finished)}.pth"
        if again or not path.exists():
            variables = {"params": d.params, "batch_stats": d.batch_stats}
            save_discriminator(path, stage.discriminator, variables)
