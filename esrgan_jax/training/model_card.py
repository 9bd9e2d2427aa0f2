"""The model card that a run leaves: what the network is, learned from and scores; the rest is to be filled in."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import esrgan_jax
from esrgan_jax.metrics import METRICS
from esrgan_jax.models.network import count_parameters
from esrgan_jax.system.progress import duration
from esrgan_jax.training.run import Run, Stage
from esrgan_jax.training.validation import Scores
from esrgan_jax.weights.network import architecture_name, fields_text

FILL_IN = "**To fill in:**"
"""In front of what a program cannot know."""


def model_card(run: Run, model: Path, scores: Scores, seconds: float) -> str:
    """Return the card of a run's generator as Markdown.

    Args:
      run: one that has come to its end.
      model: the weight file.
      scores: the last ones of the EMA network on the held-out pictures.
      seconds: that this training took since it was started or resumed.
    """
    generator = run.stages[-1].recipe.generator
    data = run.record["data"]
    small = "by MATLAB's bicubic" if data["train_lr"] is None else f"from {data['train_lr']}"
    if run.record["degradation"]["high_order_degradation"]:
        small = "by Real-ESRGAN's degradation"
    start = run.options.init_from
    begun = "random weights" if start in (None, "scratch") else start
    kind = run.devices[0].platform.upper()
    return f"""# {run.record["name"]}: {architecture_name(generator)} x{generator.scale}

| | |
|---|---|
| file | {model.name}, {model.stat().st_size / 1e6:.1f} MB |
| SHA-256 | {hashlib.sha256(model.read_bytes()).hexdigest()} |
| network | {fields_text(generator)}; {count_parameters(generator):,} parameters |
| trained with | esrgan_jax {esrgan_jax.__version__}, configuration in config.json |
| author | {FILL_IN} name, date, where to ask |

## Use

```sh
esrgan-jax upscale photo.jpg -o large.png --model {shlex.quote(model.name)}
```

Colour pictures become {generator.scale} times larger. The file has the names and the layout of BasicSR's, so that
other programs for {architecture_name(generator)} read it, too.

{FILL_IN} what it is meant for, and what it should not be used for.

## Data

{len(run.data.train)} pictures of `{data["train"]}` to train on, {len(run.data.validation)} of `{data["validation"]}`
held out. Small versions {small}: noise and JPEG artefacts are enlarged like everything else, unless these had them.

{FILL_IN} who made the pictures, and under which licence they may be used.

## Training

{_stages_table(run.stages)}

Begun with {begun}, seed {run.options.seed}. {len(run.devices)} {kind} device{"s" * (len(run.devices) > 1)};
{duration(seconds)} since it was last started.

## Scores

Mean of the held-out pictures, borders of {generator.scale} pixels cut:

{_scores_table(scores, run.data.bicubic)}

{FILL_IN} what it is good at and what it gets wrong, seen on pictures it never saw: text, faces, leaves, night.

## Licence

{FILL_IN} of the weights. What the pictures' licences ask for, such as their authors' names, belongs here.
"""


def _stages_table(stages: tuple[Stage, ...]) -> str:
    lines = ["| stage | iterations | batch | HR patch | learning rate (G, D) |", "|---|---|---|---|---|"]
    for stage in stages:
        rates = ", ".join(f"{rate:g}" for rate in stage.recipe.rates(1).values())
        lines.append(
            f"| {stage.name} | {stage.steps:,} | {stage.batch_size} | {stage.patches['gt_size']} | {rates} |"
        )
    return "\n".join(lines)


def _scores_table(scores: Scores, bicubic: Scores) -> str:
    lines = ["| | this network | bicubic |", "|---|---|---|"]
    for key, metric in METRICS.items():
        lines.append(f"| {metric.title} | {metric.text(scores[key])} | {metric.text(bicubic[key])} |")
    return "\n".join(lines)
