"""Several sources, numbered through."""

from __future__ import annotations

import numpy as np
import pytest

from esrgan_jax.data.folder import FolderSource
from esrgan_jax.data.sources import Mixture
from esrgan_jax.errors import ConfigError


@pytest.fixture
def folders(tmp_path, write_image):
    for name, size in (("one/a", 24), ("one/b", 28), ("two/c", 32)):
        write_image(tmp_path / f"{name}.png", size, size)
    return [FolderSource(tmp_path / name, scale=4) for name in ("one", "two")]


def test_images_are_numbered_through(folders, tmp_path):
    mixture = Mixture(folders)
    assert len(mixture) == 3
    assert [mixture.name(index) for index in range(3)] == [
        str(tmp_path / name) for name in ("one/a.png", "one/b.png", "two/c.png")
    ]
    assert [mixture.hr_size(index) for index in range(3)] == [(24, 24), (28, 28), (32, 32)]
    np.testing.assert_array_equal(mixture[2]["hr"], folders[1][0]["hr"])
    with pytest.raises(IndexError):
        mixture[3]
    with pytest.raises(IndexError):
        mixture[-1]


def test_weights_are_the_sizes_unless_given(folders):
    assert Mixture(folders).weights == [2, 1]
    assert Mixture(folders, (0.5, 3)).weights == [0.5, 3]


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3), (1, 0), (1, -1), (1, float("inf")), ("a", 1)])
def test_weights_that_cannot_be(weights, folders):
    with pytest.raises(ConfigError, match=r"data\.train_weights .* as many as there are sources \(2\)"):
        Mixture(folders, weights)
