"""A small network for photos of unknown quality: SRVGGNetCompact by both stages of Real-ESRGAN. The recipe is ours.

Paper:    none: how realesr-general-x4v3 was trained is not published. Losses, data and schedule are realesrgan_x4's.
Command:  python train.py --config configs/compact_x4.py --config.perceptual.weights=vgg19
Data:     as for realesrnet_x4.
Cost:     1,000,000 + 400,000 iterations of 48 patches; the generator needs 1/15 of RRDBNet's work. Not measured.
Expected: no number yet.
"""

from ml_collections import ConfigDict

from configs import base, realesrnet_x4


def get_config(argument: str | None = None) -> ConfigDict:
    config = realesrnet_x4.get_config()
    config.name = "compact_x4"
    config.stages = ("psnr", "gan")
    config.init_from = None
    config.network_g.type = "SRVGGNetCompact"
    config.network_g.num_conv = 32  # realesr-general-x4v3's
    return base.select(config, argument)
