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


@pytest.mark.parametrize(
    ("hr_names", "lr_names"),
    [
        (("a.png", "a.jpg"), ("a.png",)),  # by the same suffix, and by any
        (("a.bmp", "a.jpg"), ("a.png",)),
        (("sub/b.png", "sub/bx4.png"), ("sub/bx4.png",)),  # by both templates
        (("a.png", "a.jpg", "a.tif"), ("a.png", "a.jpg")),
    ],
)
def test_one_lr_image_belongs_to_one_hr_image(tmp_path, write_image, hr_names, lr_names):
    for name in hr_names:
        write_image(tmp_path / "hr" / name, 24, 32)
    write_image(tmp_path / "hr/own.png", 24, 32)
    for name in (*lr_names, "own.webp"):
        write_image(tmp_path / "lr" / name, 6, 8)
    skipped: dict[str, str] = {}
    source = FolderSource(tmp_path / "hr", tmp_path / "lr", scale=4, skipped=skipped)
    shared = {name for name in hr_names if str(tmp_path / "hr" / name) in skipped}
    assert len(shared) == 2
    for name in shared:
        reason = skipped[str(tmp_path / "hr" / name)]
        assert reason.startswith(f"{tmp_path / 'hr' / name} and ")
        assert all(str(tmp_path / "hr" / other) in reason for other in shared)
        assert f"have one LR image, {tmp_path / 'lr'}" in reason
    assert tmp_path / "hr/own.png" in source.files
    with pytest.raises(DataError, match="have one LR image"):
        FolderSource(tmp_path / "hr", tmp_path / "lr", scale=4)


def test_suffixes_tell_pairs_apart(tmp_path, write_image):
    for suffix in ("jpg", "png", "webp"):
        write_image(tmp_path / f"hr/a.{suffix}", 24, 32)
        write_image(tmp_path / f"lr/a.{suffix}", 6, 8)
    partners = LrNames(tmp_path / "hr", tmp_path / "lr", 4)
    for file in partners.hr_files:
        assert partners.lr_file(file) == tmp_path / "lr" / file.name


def test_suffixes_in_any_case_tell_pairs_apart(tmp_path, write_image):
    for suffix in ("jpg", "png"):
        write_image(tmp_path / f"hr/a.{suffix}", 24, 32)
        (tmp_path / f"hr/a.{suffix}").rename(tmp_path / f"hr/a.{suffix.upper()}")
        write_image(tmp_path / f"lr/a.{suffix}", 6, 8)
    partners = LrNames(tmp_path / "hr", tmp_path / "lr", 4)
    for file in partners.hr_files:
        assert partners.lr_file(file).name == file.name.lower()


def test_links_that_lead_nowhere_inside_of_nested_folders(tmp_path, write_image):
    """LR below HR: what is LR is told by real paths, which a link to itself has not."""
    write_image(tmp_path / "hr/a.png", 24, 32)
    write_image(tmp_path / "hr/LR/a.png", 6, 8)
    (tmp_path / "hr/self.png").symlink_to("self.png")
    partners = LrNames(tmp_path / "hr", tmp_path / "hr/LR", 4)
    assert [file.name for file in partners.hr_files] == ["a.png", "self.png"]
