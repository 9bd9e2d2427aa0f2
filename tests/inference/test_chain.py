"""Two networks one after the other are the second applied to what the first gives."""

import numpy as np
from helpers.untiled import untiled
from helpers.variables import random_variables

from esrgan_jax.inference import Chain, Upscaler
from esrgan_jax.models import RRDBNet


def test_chain():
    modules = [RRDBNet(scale, num_feat=8, num_block=1, num_grow_ch=4) for scale in (2, 4)]
    params = [random_variables(module)["params"] for module in modules]
    chain = Chain([Upscaler(*pair, tile=128, overlap="exact") for pair in zip(modules, params, strict=True)])
    assert chain.scale == 8
    image = np.random.default_rng(0).random((50, 71, 3), np.float32)
    seen = []
    result = chain(image, progress=lambda done, total: seen.append((done, total)))
    between = np.clip(untiled(modules[0], params[0], image), 0, 1)
    np.testing.assert_allclose(result, untiled(modules[1], params[1], between), rtol=0, atol=1e-5)
    count = chain.tile_count(50, 71)
    assert count == 1 + 2  # 100 x 142 pixels in tiles of 128
    assert seen == [(i + 1, count) for i in range(count)]
    strips = list(chain.strips((image * 255).astype(np.uint8)))
    assert sum(len(rows) for _, rows in strips) == 400
    assert strips[0][1].dtype == np.uint8


def test_chain_of_one_is_the_upscaler():
    module = RRDBNet(num_feat=8, num_block=1, num_grow_ch=4)
    upscaler = Upscaler(module, random_variables(module)["params"])
    image = np.random.default_rng(0).integers(0, 65535, (9, 8, 4), np.uint16)
    np.testing.assert_array_equal(Chain([upscaler])(image), upscaler(image))
