"""ESRGAN x2: the network of x4 behind a pixel unshuffle of 2, as RealESRGAN_x2plus has it.

Command:  python train.py --config configs/x2.py --config.perceptual.weights=vgg19
Data:     DIV2K with its published bicubic LR for x2, prepared once:
          esrgan-jax prepare div2k --whole --scale 2
          or folders of your own: --config.data.train=FOLDER --config.data.validation=FOLDER
Cost:     per iteration about a quarter of x4's, on the same HR patches. Not yet run to its end here.
Expected: no published number for this network with these losses.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.name = "x2"
    config.scale = 2
    config.data.train = "tfds:div2k/bicubic_x2"
    config.data.validation = "tfds:div2k/bicubic_x2"
    return base.select(config, argument)
