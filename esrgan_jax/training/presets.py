"""The published recipes where they differ: betas, schedule, initialisation, EMA, losses and their targets.

A preset is chosen with `--config FILE:PRESET` (or `FILE:STAGE,PRESET`) and sets exactly the fields named here.
`docs/recipes.md` says where each value comes from and which published number belongs to which recipe.
"""

from collections.abc import Mapping
from typing import Any

_BASICSR: dict[str, Any] = {
    "psnr.optim_g.betas": (0.9, 0.99),
    "gan.optim_g.betas": (0.9, 0.99),
    "gan.optim_d.betas": (0.9, 0.99),
    "psnr.scheduler.type": "cosine_restart",
    "psnr.scheduler.periods": (250_000,) * 4,
    "psnr.scheduler.restart_weights": (1.0,) * 4,
    "psnr.scheduler.eta_min": 1e-7,
    "gan.scheduler.type": "multistep",
    "gan.scheduler.milestones": (50_000, 100_000, 200_000, 300_000),
    "gan.scheduler.gamma": 0.5,
    "psnr.ema_decay": 0.999,
    "gan.ema_decay": 0.999,
    "gan.detach_means": True,
    "network_g.initialization": "basicsr",
}
_ADAMS_OWN_BETAS = {
    f"{optimizer}.betas": (0.9, 0.999) for optimizer in ("psnr.optim_g", "gan.optim_g", "gan.optim_d")
}
_NO_EMA = {"psnr.ema_decay": 0.0, "gan.ema_decay": 0.0}

PRESETS: dict[str, dict[str, Any]] = {
    "basicsr": _BASICSR,
    "paper": {
        **_BASICSR,
        **_ADAMS_OWN_BETAS,
        **_NO_EMA,
        "psnr.scheduler.type": "multistep",
        "psnr.scheduler.milestones": (200_000, 400_000, 600_000, 800_000),
        "psnr.scheduler.gamma": 0.5,
        "gan.detach_means": False,
    },
    "mmagic": {
        **_BASICSR,
        **_ADAMS_OWN_BETAS,
        **_NO_EMA,
        "network_g.initialization": "mmagic",
    },
    "realesrgan": {
        **_BASICSR,
        "psnr.scheduler.type": "multistep",
        "psnr.scheduler.milestones": (1_000_000,),
        "psnr.scheduler.gamma": 0.5,
        "gan.scheduler.milestones": (400_000,),
        "psnr.gt_usm": True,
        "gan.l1_gt_usm": True,
        "gan.percep_gt_usm": True,
        "gan.gan_gt_usm": False,
        "gan.pixel_weight": 1.0,
        "gan.gan_weight": 0.1,
        "gan.relativistic": False,
    },
}


def changed_from_preset(preset: str, fields: Mapping[str, Any]) -> list[str]:
    """Return fields of a flattened configuration that are not the preset's, each as "field=value"."""
    return [
        f"{name}={fields[name]}"
        for name, value in PRESETS[preset].items()
        if name in fields and fields[name] != (list(value) if isinstance(value, tuple) else value)
    ]
