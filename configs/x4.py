"""ESRGAN x4 as published: the PSNR stage, then the GAN stage.

Paper:    Wang et al. 2018, arXiv:1809.00219; every value as in BasicSR 1.4.2, the official trainer.
Command:  python train.py --config configs/x4.py --config.perceptual.weights=vgg19
          one stage after the other:
          python train.py --config configs/x4.py:psnr
          python train.py --config configs/x4.py:gan --config.init_from=runs/x4-psnr --config.perceptual.weights=vgg19
          another recipe (docs/recipes.md), here in one stage alone:
          python train.py --config configs/x4.py:psnr,mmagic
Data:     DIV2K with its published bicubic LR, prepared once:
          esrgan-jax prepare div2k --whole
          or folders of your own: --config.data.train=FOLDER --config.data.validation=FOLDER
Cost:     1,000,000 + 400,000 iterations of 16 patches of 128 x 128; days on one GPU. Not yet run to its end here.
Expected: Set5 on Y, PSNR network 32.60 dB (the paper's, trained on DIV2K).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.name = "x4"
    config.data.train = "tfds:div2k/bicubic_x4"
    config.data.validation = "tfds:div2k/bicubic_x4"
    return base.select(config, argument)
