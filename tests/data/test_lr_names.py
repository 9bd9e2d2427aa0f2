"""Names of LR images by template, and what is said when there is none."""

from __future__ import annotations

import pytest

from esrgan_jax.data.folder import FolderSource
from esrgan_jax.data.lr_names import LrNames
from esrgan_jax.errors import ConfigError, DataError


@pytest.mark.parametrize(
    "template, lr_name",
    [
        ("{name}x4", "sub/a.v2x4.png"),
        ("{name}x{scale}", "sub/a.v2x4.jpg"),
        ("LR_{name}", "sub/LR_a.v2.webp"),
        ("{name}_lr.bmp", "sub/a.v2_lr.bmp"),
        ("X{scale}/{name}", "sub/X4/a.v2.png"),
        ("{name}", "sub/a.v2.png"),
    ],
)
def test_template_names_the_partner(template, lr_name, tmp_path, write_image):
    write_image(tmp_path / "hr/sub/a.v2.png", 24, 32)
    write_image(tmp_path / "lr" / lr_name, 6, 8)
    write_image(tmp_path / "lr/sub/other.png", 5, 5)
    partners = LrNames(tmp_path / "hr", tmp_path / "lr", 4, template)
    assert [partners.lr_file(file) for file in partners.hr_files] == [tmp_path / "lr" / lr_name]
    source = FolderSource(tmp_path / "hr", tmp_path / "lr", scale=4, lr_template=template)
    assert source[0]["lr"].shape == (6, 8, 3)


def error_of(tmp_path, template=None):
    partners = LrNames(tmp_path / "hr", tmp_path / "lr", 4, template)
    with pytest.raises(DataError) as caught:
        partners.lr_file(partners.hr_files[0])
    return str(caught.value)


def test_missing_partner_says_what_was_looked_for(tmp_path, write_image):
    write_image(tmp_path / "hr/sub/a.png", 24, 32)
    write_image(tmp_path / "lr/sub/a_lr.png", 6, 8)
    text = error_of(tmp_path, "{name}x{scale}")
    assert f"{tmp_path / 'hr/sub/a.png'} has no LR image: {tmp_path / 'lr'} holds no sub/ax4.png, nor" in text
    assert "holds no sub/ax4.jpg;" in error_of(tmp_path, "{name}x4.jpg")
    assert "holds no sub/a_lr.jpg;" in error_of(tmp_path, "{name}_lr.jpg")  # there is one, but another suffix
    assert "holds neither sub/a.png nor sub/ax4.png, nor one with another suffix" in error_of(tmp_path)
    assert "data.lr_template" in error_of(tmp_path)


def test_the_template_alone_counts(tmp_path, write_image):
    write_image(tmp_path / "hr/a.png", 24, 32)
    write_image(tmp_path / "lr/a.png", 6, 8)
    assert "ax4.png" in error_of(tmp_path, "{name}x4")


def test_template_without_a_name(tmp_path, write_image):
    write_image(tmp_path / "a.png", 24, 32)
    with pytest.raises(ConfigError, match=r"template of LR names \(=x4\) must hold \{name\}"):
        FolderSource(tmp_path, scale=4, lr_template="x4")
