"""JPEG's loss, without the file: DCT coefficients of 8x8 blocks rounded to multiples of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from esrgan_jax.degradation.live import Size, live_size, zero_beyond

if TYPE_CHECKING:
    from jaxtyping import Array, Float

TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float64
)
TO_RGB = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]], np.float64)

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).T
"""Table K.1 of ITU-T T.81, transposed: [vertical, horizontal] frequency as the original has it, by oversight."""

CHROMA = np.full((8, 8), 99)
"""Table K.2 of ITU-T T.81, which is symmetric."""
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def jpeg(x: Float[Array, "h w 3"], quality: ArrayLike, size: Size | None = None) -> Float[Array, "h w 3"]:
    """Return what a JPEG file of this quality leaves of a picture, with 4:2:0 chroma; zero beyond the live picture.

    As the original has it, and unlike libjpeg: black pixels fill the last blocks at bottom and right, quality is a
    real number, tables are neither rounded nor limited, and that of luma is transposed. A table's factor is 50 /
    quality below 50, else 2 - quality / 50. Rounding ties apart within 1e-6 of the original in float32. Source:
    BasicSR 1.4.2, `basicsr/utils/diffjpeg.py`, with plain rounding, as Real-ESRGAN uses it.

    Args:
      x: RGB in [0, 1].
      quality: above 0 and below 100; may be traced.
      size: of the live picture; None: the whole array.
    """
    height, width = x.shape[:2]
    live = live_size(x, size)
    x = jnp.pad(zero_beyond(x, live), ((0, -height % 16), (0, -width % 16), (0, 0)))
    quality = jnp.asarray(quality, x.dtype)
    factor = jnp.where(quality < 50, 50 / quality, 2 - quality / 50)
    y, chroma = jnp.split(
        _product("kc,hwc->khw", TO_YCBCR, 255 * x), [1]
    )  # chroma about 0: 128 comes and goes
    rows, columns = x.shape[:2]
    chroma = chroma.reshape(2, rows // 2, 2, columns // 2, 2).mean((2, 4))
    y = _quantise(y - 128, factor * LUMA.astype(x.dtype)) + 128
    chroma = _quantise(chroma, factor * CHROMA.astype(x.dtype)).repeat(2, 1).repeat(2, 2)
    rgb = _product("ck,khw->hwc", TO_RGB, jnp.concatenate([y, chroma]))
    return zero_beyond(jnp.clip(rgb, 0, 255)[:height, :width] / 255, live)


def _quantise(planes: Array, table: Array) -> Array:
    """Round the coefficients of each 8x8 block to multiples of a table, and transform back."""
    n, height, width = planes.shape
    k = np.arange(8)
    dct = np.cos((2 * k + 1) * k[:, None] * np.pi / 16) * np.where(k[:, None] == 0, np.sqrt(1 / 8), 0.5)
    blocks = planes.reshape(n, height // 8, 8, width // 8, 8)
    coefficients = _product("vb,nyuxb->nyuxv", dct, _product("ua,nyaxb->nyuxb", dct, blocks))
    table = table[:, None, :]
    rounded = jnp.round(coefficients / table) * table
    blocks = _product("vb,nyaxv->nyaxb", dct, _product("ua,nyuxv->nyaxv", dct, rounded))
    return blocks.reshape(n, height, width)


def _product(equation: str, matrix: np.ndarray, x: Array) -> Array:
    return jnp.einsum(equation, matrix.astype(x.dtype), x, precision=lax.Precision.HIGHEST)
