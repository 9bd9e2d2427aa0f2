"""The networks at the end of a stage as files for other programs, named as BasicSR names them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from esrgan_jax.models import RRDBNet
from esrgan_jax.training.stages import GanRecipe, Stage, States
from esrgan_jax.weights.save import save_discriminator, save_generator


def export(
    run_folder: Path,
    generator: RRDBNet,
    stage: Stage,
    states: States,
    later_ends: Iterable[int],
    overwrite: bool,
) -> None:
    """Writes net_g_<iteration>.pth and, of the GAN stage, net_d_<iteration>.pth.

    Args:
      run_folder: where they go.
      generator: what `states["g"]` belongs to.
      stage: that has come to its end.
      states: its states.
      later_ends: the iterations at which later stages of the run end. At one of these the name belongs to the later
        stage, and this one's is net_g_<iteration>_<stage>.pth.
      overwrite: also if the file is there already.

    Raises:
      WeightFileError: a file cannot be written.
    """
    g = states["g"]
    iteration = int(g.finished)
    path = run_folder / f"net_g_{iteration}{f'_{stage.name}' * (iteration in later_ends)}.pth"
    if overwrite or not path.exists():
        save_generator(path, generator, g.params, g.ema)
    if isinstance(stage, GanRecipe):
        d = states["d"]
        path = run_folder / f"net_d_{iteration}.pth"
        if overwrite or not path.exists():
            variables = {"params": d.params, "batch_stats": d.batch_stats}
            save_discriminator(path, stage.discriminator, variables)
