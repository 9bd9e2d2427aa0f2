"""A whole picture through a network at once, without any code of the Upscaler: what tiles are compared with."""

import functools

import jax
import numpy as np


@functools.cache
def _jitted(module):
    return jax.jit(module.apply)


def untiled(module, params, image):
    """The enlarged picture of floats [H, W, channels]; odd sizes are mirrored up to the unshuffle factor."""
    height, width = image.shape[:2]
    pad = [(0, -height % module.unshuffle), (0, -width % module.unshuffle), (0, 0)]
    sr = _jitted(module)({"params": params}, np.pad(image, pad, mode="symmetric")[None])[0]
    return np.asarray(sr)[: height * module.scale, : width * module.scale]
