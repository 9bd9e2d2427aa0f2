"""Real-ESRGAN x2: both stages, because no RealESRNet x2 was published; x4's network behind a pixel unshuffle of 2.

Paper:    Wang et al. 2021, arXiv:2107.10833; every value as in Real-ESRGAN's options/train_realesrnet_x2plus.yml and
          options/train_realesrgan_x2plus.yml.
Command:  python train.py --config configs/realesrgan_x2.py --config.perceptual.weights=vgg19
Data:     as for realesrnet_x4.
Cost:     1,000,000 + 400,000 iterations of 48 patches, in the original on four GPUs. Not measured.
Expected: no published number. It starts from RealESRGAN_x4plus but for conv_first.weight, which has other inputs and
          stays random. The average (EMA) starts as a copy of the network; in the original its conv_first is another
          random one.
"""

from ml_collections import ConfigDict

from configs import base, realesrnet_x4


def get_config(argument: str | None = None) -> ConfigDict:
    config = realesrnet_x4.get_config()
    config.name = "realesrgan_x2"
    config.scale = 2
    config.stages = ("psnr", "gan")
    config.init_from = "RealESRGAN_x4plus"
    config.strict_load_g = False
    return base.select(config, argument)
