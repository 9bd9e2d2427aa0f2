"""A folder of one's own photos: where `esrgan-jax train FOLDER` starts; it sets data, batch and steps itself.

Command:  esrgan-jax train FOLDER --hours 2
          which completes configs/own_photos.py and runs the PSNR stage
Data:     every picture of FOLDER, one in ten of them held out, LR by MATLAB bicubic.
Cost:     as many hours as --hours says; memory and time are in the plan it prints.
Expected: after 1,831 iterations on 11 photos of 1.5 to 16 megapixels Y 40.42 and RGB 39.06 dB on a twelfth; bicubic
          38.76 and 37.43 (2026-11-28, --hours 0.4 on two busy CPU cores: 28 minutes, 2.0 GB).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.name = "own_photos"

    # A twentieth of the published network's work: on two CPU cores that one would take weeks.
    config.network_g.num_feat = 32
    config.network_g.num_block = 4
    config.network_g.num_grow_ch = 16
    config.network_g.initialization = "spline"
    config.network_g.remat = False

    config.data.on_bad_image = "skip"

    config.psnr.batch_size = 8
    config.psnr.gt_size = 96
    config.psnr.optim_g.lr = 1e-3  # small networks take more than the published 2e-4
    config.psnr.scheduler.periods = (1000,)  # as many as steps
    config.psnr.scheduler.restart_weights = (1.0,)
    config.max_to_keep = 2
    return base.select(config, argument)
