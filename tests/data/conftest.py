"""Small real images for the tests of the data room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture
def coordinates() -> Callable[..., dict[str, np.ndarray]]:
    """A pair whose pixels are (row, column, tag); each LR pixel is a block of equal HR pixels."""

    def make(height: int, width: int, scale: int, tag: int = 0) -> dict[str, np.ndarray]:
        lr = np.empty((height, width, 3), np.uint8)
        lr[..., 0] = np.arange(height)[:, None]
        lr[..., 1] = np.arange(width)
        lr[..., 2] = tag
        return {"lr": lr, "hr": lr.repeat(scale, axis=0).repeat(scale, axis=1)}

    return make
