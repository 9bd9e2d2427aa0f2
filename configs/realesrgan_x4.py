"""Real-ESRGAN x4: the second stage, with a GAN, from the network of configs/realesrnet_x4.py.

Paper:    Wang et al. 2021, arXiv:2107.10833; every value as in Real-ESRGAN's options/train_realesrgan_x4plus.yml.
Command:  python train.py --config configs/realesrgan_x4.py --config.perceptual.weights=vgg19
Data:     as for realesrnet_x4. It starts from the run in runs/realesrnet_x4, or from what --config.init_from names.
Cost:     400,000 iterations of 48 patches, in the original on four GPUs. Not measured.
Expected: no published number; the published network of this recipe is RealESRGAN_x4plus.
"""

from ml_collections import ConfigDict

from configs import base, realesrnet_x4


def get_config(argument: str | None = None) -> ConfigDict:
    config = realesrnet_x4.get_config()
    config.name = "realesrgan_x4"
    config.stages = ("gan",)
    config.init_from = "runs/realesrnet_x4"
    return base.select(config, argument)
