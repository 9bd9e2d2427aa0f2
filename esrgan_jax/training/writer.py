"""What a run leaves: metrics.jsonl, TensorBoard, samples, curves, .pth files, model cards. Process 0 only."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from esrgan_jax.errors import CheckpointError
from esrgan_jax.evaluation.scores import Result
from esrgan_jax.imaging.rgb_files import write_png
from esrgan_jax.metrics import METRICS
from esrgan_jax.system.files import append, atomic_write
from esrgan_jax.training.figures import draw_curves, draw_sample
from esrgan_jax.training.recipe import Recipe, States
from esrgan_jax.training.tensorboard import EventFile
from esrgan_jax.weights.save import save_discriminator, save_generator


class Writer:
    """Writes into a run folder; what it wrote after the point of a resume is taken back first.

    `metrics.jsonl` holds one line per log interval and evaluation, {"stage", "iteration", ...}, and
    nothing that depends on the machine's speed: a resumed run writes the file of an uninterrupted one.

    A full disk, or one that is gone, stops nothing: lines of `metrics.jsonl` wait until there is room, pictures
    and TensorBoard's points are left out, and `problem` says so until it works again.
    """

    def __init__(self, run_folder: Path, stages: Sequence[str]):
        self._folder = run_folder
        self._stages = list(stages)
        self._path = run_folder / "metrics.jsonl"
        self._pending_lines: list[str] = []
        self._boards: dict[str, EventFile] = {}
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """What cannot be written at present, and why; None if everything can."""
        return "; ".join(f"{what} cannot be written ({why})" for what, why in self._problems.items()) or None

    def resume(self, stage: str, iteration: int, evaluated: bool = True) -> None:
        """Drop every line from after `iteration` of `stage`, because it will be written again.

        So will the scores of `iteration` itself, if it is still to be `evaluated`.

        Raises:
          CheckpointError: the disk is full or gone.
        """
        order = self._stages.index(stage)
        kept = "".join(
            json.dumps(line) + "\n"
            for line in read_metrics(self._path)
            if (place := (self._stages.index(line["stage"]), line["iteration"])) < (order, iteration)
            or (place == (order, iteration) and (evaluated or METRICS.keys().isdisjoint(line)))
        )
        if not self._path.exists() or self._path.read_text(encoding="utf-8") != kept:
            try:
                with atomic_write(self._path) as temporary:
                    temporary.write_text(kept, encoding="utf-8")
            except OSError as error:
                raise CheckpointError(
                    f"{self._path} cannot be written ({error.strerror}): mend that and run the same command."
                ) from error
        self._boards[stage] = EventFile(
            self._folder / "tensorboard" / stage, purge_from=iteration + 1 if iteration else 0
        )

    def scalars(self, stage: str, iteration: int, values: dict[str, float]) -> None:
        """Write one line of metrics.jsonl, and the same to TensorBoard, in groups."""
        self._pending_lines.append(json.dumps({"stage": stage, "iteration": iteration, **values}) + "\n")
        with self._recording_problems(self._path.name):
            append(self._path, "".join(self._pending_lines).encode())
            self._pending_lines.clear()
        with self._recording_problems("tensorboard"):
            self._boards[stage].scalars(
                {f"{_group(name)}/{name}": value for name, value in values.items()}, iteration
            )

    @property
    def example(self) -> Path:
        """The LR of the first held-out picture, something to upscale; `sample` writes it."""
        return self._folder / "samples" / "lr.png"

    def sample(self, stage: str, iteration: int, result: Result) -> Path:
        """Draw LR enlarged | SR | HR of one image into samples/, and `example` once; return the first file."""
        path = self._folder / "samples" / f"{stage}_{iteration:07d}.png"
        picture = draw_sample(result)
        with self._recording_problems("samples"):
            write_png(path, picture)
            if not self.example.exists():
                write_png(self.example, result.pair["lr"])
        with self._recording_problems("tensorboard"):
            self._boards[stage].picture("sample", picture, iteration)
        return path

    def curves(self) -> Path:
        """Draw the curves of metrics.jsonl into curves.png; return the file."""
        path = self._folder / "curves.png"
        lines = read_metrics(self._path)
        ran = {line["stage"] for line in lines}
        with self._recording_problems(path.name):
            draw_curves(lines, [stage for stage in self._stages if stage in ran] or self._stages, path)
        return path

    def card(self, model: Path, text: str) -> Path:
        """Write a model card beside a model file, net_g_600.md beside net_g_600.pth; return the file.

        One that is there stays: somebody may have filled it in.
        """
        path = model.with_suffix(".md")
        if not path.exists():
            with self._recording_problems(path.name), atomic_write(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return path

    @contextlib.contextmanager
    def _recording_problems(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._problems[what] = error.strerror or str(error)
        else:
            self._problems.pop(what, None)


def _group(name: str) -> str:
    """Return the section of TensorBoard in which a number is shown."""
    if name.startswith("l_"):
        return "loss"
    if name == "lr" or name.startswith("lr_"):
        return "rate"
    return "score" if name.removeprefix("bicubic_") in METRICS else "other"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics.jsonl; one cut short by a crash, necessarily the last, is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def exported_generator(run_folder: Path, states: States) -> Path:
    """Return where `export` writes the generator of a run's last stage."""
    return run_folder / f"net_g_{int(states['g'].finished)}.pth"


def export(
    run_folder: Path, recipe: Recipe, states: States, later_ends: Iterable[int], overwrite: bool
) -> None:
    """Write net_g_<iteration>.pth and, of the GAN stage, net_d_<iteration>.pth, named as BasicSR names them.

    Args:
      run_folder: where they go.
      recipe: of a stage that has come to its end.
      states: its states.
      later_ends: the iterations at which later stages of the run end. At one of these the name belongs to the later
        stage, and this one's is net_g_<iteration>_<stage>.pth.
      overwrite: also if the file is there already.

    Raises:
      WeightFileError: a file cannot be written.
    """
    iteration = int(states["g"].finished)
    for name, state in states.items():
        earlier = f"_{recipe.name}" * (name == "g" and iteration in later_ends)
        path = run_folder / f"net_{name}_{iteration}{earlier}.pth"
        if path.exists() and not overwrite:
            continue
        if name == "g":
            save_generator(path, recipe.generator, state.params, state.ema)
        else:
            save_discriminator(path, recipe.modules[name], state.variables)
