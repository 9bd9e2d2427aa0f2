"""A network file whose result is known: it repeats pixels and smooths them, so that edges reach their neighbours."""

import jax
import numpy as np

from esrgan_jax.models import RRDBNet
from esrgan_jax.weights.save import save_generator

TENT = np.outer([1, 2, 1], [1, 2, 1]) / 16
CENTRE = np.outer([0, 1, 0], [0, 1, 0])


def write_smooth_network(path, scale=4, num_feat=16, num_block=1):
    """A small RRDBNet as a .pth file; of scale 4, values stay in the range of their neighbourhood."""
    module = RRDBNet(scale=scale, num_feat=num_feat, num_block=num_block, num_grow_ch=2)
    shape = (1, 8, 8, 3)
    params = jax.eval_shape(module.init, jax.random.key(0), np.zeros(shape, np.float32))["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), params)
    kernels = {
        "conv_first": CENTRE,
        "conv_up1": TENT,
        "conv_up2": TENT,
        "conv_hr": CENTRE,
        "conv_last": CENTRE,
    }
    inputs = params["conv_first"]["weight"].shape[2] // 3  # pixels in a block of the unshuffle
    for name, kernel in kernels.items():
        weight = params[name]["weight"]  # [3, 3, in, out]
        for channel in range(3):
            if name == "conv_first":
                # A block's pixels lie side by side for each colour; their mean stands for all.
                weight[:, :, channel * inputs : (channel + 1) * inputs, channel] = kernel[..., None] / inputs
            else:
                weight[:, :, channel, channel] = kernel
    save_generator(path, module, params, params)
    return path
