"""RealESRNet x4: the first stage of Real-ESRGAN, L1 on photos that are degraded on the devices.

Paper:    Wang et al. 2021, arXiv:2107.10833; every value as in Real-ESRGAN's options/train_realesrnet_x4plus.yml.
Command:  python train.py --config configs/realesrnet_x4.py
Data:     photos of 400 pixels a side or more, HR alone, in DIV2K/HR and Flickr2K/HR; --config.data.train=FOLDER is
          another place. The original's are DIV2K, Flickr2K and OST, each photo also at 0.75, 0.5 and 1/3 of its size.
          Validation reads pairs as they are.
Cost:     1,000,000 iterations of 48 patches, in the original on four GPUs. Not measured.
Expected: no published number. The original starts from ESRGAN_SRx4_DF2KOST, this from RRDB_ESRGAN_x4: the same
          network, trained by the same authors.
"""

from ml_collections import ConfigDict

from configs import base
from esrgan_jax.training.presets import PRESETS


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.name = "realesrnet_x4"
    config.preset = "realesrgan"
    config.update_from_flattened_dict(PRESETS["realesrgan"])
    config.stages = ("psnr",)
    config.init_from = "RRDB_ESRGAN_x4"
    config.network_d.type = "UNetDiscriminatorSN"

    config.data.train = "DIV2K/HR,Flickr2K/HR"
    config.data.use_rot = False
    config.degradation.high_order_degradation = True
    for stage in (config.psnr, config.gan):
        stage.batch_size = 48
        stage.gt_size = 256

    # Before ReLU.
    layers = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
    config.perceptual.layer_weights = ConfigDict(layers)
    return base.select(config, argument)
