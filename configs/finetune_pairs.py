"""Fine-tune Real-ESRGAN x4 on pairs of one's own: HR photos, and the same as one's camera or scanner makes them.

Paper:    Wang et al. 2021, arXiv:2107.10833; every value as in Real-ESRGAN's
          options/finetune_realesrgan_x4plus_pairdata.yml, but for where G starts.
Command:  python train.py --config configs/finetune_pairs.py --config.perceptual.weights=vgg19
          --config.init_from_d=FILE besides lets D start from RealESRGAN_x4plus_netD.pth of Real-ESRGAN's releases.
Data:     DIV2K/HR with its LR photos in DIV2K/X4; --config.data.train and --config.data.train_lr name other folders.
Cost:     400,000 iterations of 48 patches in the original; stop when samples are good. Not measured.
Expected: depends on the pairs. G starts from RealESRGAN_x4plus, as Real-ESRGAN's page on fine-tuning has it; its
          option file says RealESRNet_x4plus.
"""

from ml_collections import ConfigDict

from configs import base, realesrnet_x4


def get_config(argument: str | None = None) -> ConfigDict:
    config = realesrnet_x4.get_config()
    config.name = "finetune_pairs"
    config.stages = ("gan",)
    config.init_from = "RealESRGAN_x4plus"
    config.degradation.high_order_degradation = False
    config.psnr.gt_usm = False  # in paired mode RealESRNet does not sharpen
    config.data.train = "DIV2K/HR"
    config.data.train_lr = "DIV2K/X4"
    return base.select(config, argument)
