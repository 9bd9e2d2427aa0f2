"""ESRGAN in JAX and Flax: train, convert, upscale."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esrgan_jax.inference.upscaler import Upscaler
    from esrgan_jax.models.rrdbnet import RRDBNet
    from esrgan_jax.models.srvgg import SRVGGNetCompact
    from esrgan_jax.models.unet_discriminator import UNetDiscriminatorSN
    from esrgan_jax.models.vgg_discriminator import VGGStyleDiscriminator
    from esrgan_jax.models.vgg_features import VGGFeatureExtractor
    from esrgan_jax.training.recipe import GanRecipe, PixelRecipe
    from esrgan_jax.training.train import train
    from esrgan_jax.weights.load import load_model

    __version__: str

__all__ = [
    "GanRecipe",
    "PixelRecipe",
    "RRDBNet",
    "SRVGGNetCompact",
    "UNetDiscriminatorSN",
    "Upscaler",
    "VGGFeatureExtractor",
    "VGGStyleDiscriminator",
    "__version__",
    "load_model",
    "train",
]

_MODULES = {
    "GanRecipe": "training.recipe",
    "PixelRecipe": "training.recipe",
    "RRDBNet": "models.rrdbnet",
    "SRVGGNetCompact": "models.srvgg",
    "UNetDiscriminatorSN": "models.unet_discriminator",
    "Upscaler": "inference.upscaler",
    "VGGFeatureExtractor": "models.vgg_features",
    "VGGStyleDiscriminator": "models.vgg_discriminator",
    "load_model": "weights.load",
    "train": "training.train",
}


if not TYPE_CHECKING:  # so that type checkers report other names

    def __getattr__(name: str) -> Any:
        # Imported on first use: `import esrgan_jax` takes no time, and the command's --help needs no JAX.
        if name in _MODULES:
            return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        if name == "__version__":
            return _version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    import tomllib
    from importlib import metadata
    from pathlib import Path

    try:
        return metadata.version("esrgan-jax")
    except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        return tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]
