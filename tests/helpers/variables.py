"""Network variables for tests, without the seconds that compiling an initialisation takes."""

import jax
import numpy as np

from esrgan_jax.weights.convert import variable_shapes


def random_variables(module, seed=0, dtype=np.float32):
    """Variables of a sensible size: weights by their fan-in, positive variances, counters at zero."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if leaf.dtype.kind == "i":
            return np.zeros(leaf.shape, leaf.dtype)
        if name == "running_var":
            return rng.uniform(0.5, 1.5, leaf.shape).astype(dtype)
        fan_in = np.prod(leaf.shape[-4:-1]) if name == "weight" and len(leaf.shape) > 1 else 100
        return (rng.normal(size=leaf.shape) / np.sqrt(fan_in)).astype(dtype) + (
            np.asarray(name == "weight" and len(leaf.shape) == 1, dtype)
        )

    return jax.tree_util.tree_map_with_path(draw, variable_shapes(module))
