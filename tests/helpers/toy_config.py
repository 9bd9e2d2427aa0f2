"""An experiment with the toy networks: what a user's own configuration file would be."""

from helpers.toy_networks import register_toys
from ml_collections import ConfigDict

from configs import quickstart


def get_config(argument=None):
    register_toys()
    config = quickstart.get_config(argument)
    config.name = "toy"
    config.network_g = ConfigDict({"type": "ToyNet", "num_feat": 6})
    config.network_d = ConfigDict({"type": "ToyDiscriminator", "num_feat": 4})
    config.psnr.update(steps=4, batch_size=2, gt_size=32)
    config.gan.update(steps=12, batch_size=2, gt_size=32)
    config.update(log_every=2, evaluate_every=6, checkpoint_every=2)
    return config
