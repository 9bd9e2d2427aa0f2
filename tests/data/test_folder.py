"""Folders of real files: partners, checks from headers, the cache of LR images, memory."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from helpers.commands import write_picture

from esrgan_jax.data import folder as folder_module
from esrgan_jax.data.folder import FolderSource
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.resize import imresize


def error_of(*args, **kwargs) -> str:
    with pytest.raises(DataError) as caught:
        FolderSource(*args, **kwargs)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


# Without an LR folder.


def test_lr_is_the_bicubic_of_the_cropped_image(tmp_path, write_image):
    image = write_image(tmp_path / "hr" / "a.png", 26, 35)
    source = FolderSource(tmp_path / "hr", scale=4)
    assert len(source) == 1
    assert source.name(0) == str(tmp_path / "hr" / "a.png")
    assert source.hr_size(0) == (26, 35)
    np.testing.assert_array_equal(source[0]["hr"], image[:24, :32])
    np.testing.assert_array_equal(source[0]["lr"], imresize(image[:24, :32], 1 / 4))


def test_images_below_the_folder_are_found_in_a_fixed_order(tmp_path, write_image):
    for name in ("b.png", "sub/c.jpg", "a.bmp", "sub/deep/d.webp"):
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    source = FolderSource(tmp_path, scale=2)
    names = [source.name(index) for index in range(len(source))]
    assert sorted(os.path.relpath(name, tmp_path) for name in names) == [
        "a.bmp",
        "b.png",
        "sub/c.jpg",
        "sub/deep/d.webp",
    ]
    again = FolderSource(str(tmp_path), scale=2)
    assert names == [again.name(index) for index in range(len(again))]


def test_scale_one_is_the_image_twice(tmp_path, write_image, own_cache):
    image = write_image(tmp_path / "hr" / "a.png", 9, 9)
    pair = FolderSource(tmp_path / "hr", scale=1)[0]
    np.testing.assert_array_equal(pair["lr"], image)
    np.testing.assert_array_equal(pair["hr"], image)
    assert not own_cache.exists()


def test_lr_is_made_once_and_kept_on_disk(tmp_path, write_image, own_cache, monkeypatch):
    write_image(tmp_path / "hr" / "a.png")
    first = FolderSource(tmp_path / "hr", scale=4)[0]["lr"]
    assert len([path for path in own_cache.rglob("*") if path.is_file()]) == 1

    def never(*_):
        raise AssertionError("shrunk a second time")

    monkeypatch.setattr(folder_module, "bicubic_lr", never)
    np.testing.assert_array_equal(FolderSource(tmp_path / "hr", scale=4)[0]["lr"], first)


def test_changed_image_and_other_scale_are_shrunk_again(tmp_path, write_image, own_cache):
    file = tmp_path / "hr" / "a.png"
    write_image(file, image=np.full((24, 32, 3), 10, np.uint8))
    before = file.stat()
    assert (FolderSource(tmp_path / "hr", scale=4)[0]["lr"] == 10).all()
    write_image(file, image=np.full((24, 32, 3), 200, np.uint8))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 2_000_000_000))
    assert (FolderSource(tmp_path / "hr", scale=4)[0]["lr"] == 200).all()
    assert FolderSource(tmp_path / "hr", scale=2)[0]["lr"].shape == (12, 16, 3)
    assert len([path for path in own_cache.rglob("*") if path.is_file()]) == 3


def test_damaged_cache_is_made_again(tmp_path, write_image, own_cache):
    write_image(tmp_path / "hr" / "a.png")
    expected = FolderSource(tmp_path / "hr", scale=4)[0]["lr"]
    [cached] = list(own_cache.rglob("*.png"))
    good = cached.read_bytes()
    for damaged in (good[: len(good) // 2], b""):
        cached.write_bytes(damaged)
        np.testing.assert_array_equal(FolderSource(tmp_path / "hr", scale=4)[0]["lr"], expected)
        assert cached.read_bytes() == good


def test_cache_below_the_hr_folder_is_not_training_data(tmp_path, write_image, monkeypatch):
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "cache"))
    write_image(tmp_path / "a.png")
    assert FolderSource(tmp_path, scale=4)[0]["lr"].shape == (6, 8, 3)
    assert list((tmp_path / "cache").rglob("*.png"))
    assert len(FolderSource(tmp_path, scale=2)) == 1


def test_cache_that_cannot_be_written(tmp_path, write_image, monkeypatch, capsys):
    write_image(tmp_path / "hr" / "a.png")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ESRGAN_JAX_HOME", str(tmp_path / "file"))
    source = FolderSource(tmp_path / "hr", scale=4, memory_bytes=0)
    first, second = source[0]["lr"], source[0]["lr"]
    np.testing.assert_array_equal(first, second)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"the cache {tmp_path / 'file'} cannot be written" in said
    assert "ESRGAN_JAX_HOME" in said


# With an LR folder.


@pytest.mark.parametrize("lr_name", ["sub/a.png", "sub/ax4.png", "sub/a.bmp", "sub/ax4.webp"])
def test_partner_by_stem_and_by_suffix_of_the_scale(lr_name, tmp_path, write_image):
    hr = write_image(tmp_path / "hr/sub/a.png", 24, 32)
    lr = np.full((6, 8, 3), 77, np.uint8)
    write_image(tmp_path / "lr" / lr_name, image=lr)
    write_image(tmp_path / "lr/unused.png", 5, 5)
    source = FolderSource(tmp_path / "hr", tmp_path / "lr", scale=4)
    assert len(source) == 1
    np.testing.assert_array_equal(source[0]["hr"], hr)
    assert source[0]["lr"].shape == (6, 8, 3)
    assert np.abs(source[0]["lr"].astype(int) - 77).max() <= 2  # webp is not lossless


def test_partner_with_the_same_suffix_comes_first(tmp_path, write_image):
    for suffix in ("bmp", "png"):
        write_image(tmp_path / f"hr/a.{suffix}")
    write_image(tmp_path / "lr/a.bmp", image=np.full((6, 8, 3), 1, np.uint8))
    write_image(tmp_path / "lr/a.png", image=np.full((6, 8, 3), 2, np.uint8))
    source = FolderSource(tmp_path / "hr", tmp_path / "lr", scale=4)
    values = {source.name(index)[-3:]: source[index]["lr"][0, 0, 0] for index in range(2)}
    assert values == {"bmp": 1, "png": 2}


@pytest.mark.parametrize("lr_size", [(6, 8), (7, 8), (7, 9)])
def test_lr_of_an_odd_size_may_be_rounded_up_and_is_cropped(lr_size, tmp_path, write_image):
    write_image(tmp_path / "hr/a.png", 25, 35)
    lr = write_image(tmp_path / "lr/a.png", *lr_size)
    pair = FolderSource(tmp_path / "hr", tmp_path / "lr", scale=4)[0]
    assert pair["hr"].shape == (24, 32, 3)
    np.testing.assert_array_equal(pair["lr"], lr[:6, :8])


def test_lr_folder_inside_the_hr_folder_and_the_other_way(tmp_path, write_image):
    write_image(tmp_path / "set/a.png", 24, 32)
    write_image(tmp_path / "set/LR/a.png", 6, 8)
    source = FolderSource(tmp_path / "set", tmp_path / "set/LR", scale=4)
    assert [source.name(index) for index in range(len(source))] == [str(tmp_path / "set/a.png")]
    write_image(tmp_path / "other/a.png", 6, 8)
    write_image(tmp_path / "other/HR/a.png", 24, 32)
    assert len(FolderSource(tmp_path / "other/HR", tmp_path / "other", scale=4)) == 1
    assert "same folder" in error_of(tmp_path / "set", tmp_path / "set", scale=4)


# Errors.


def test_folder_missing_or_a_file(tmp_path, write_image):
    assert f"HR folder {tmp_path / 'no'} does not exist" in error_of(tmp_path / "no", scale=4)
    write_image(tmp_path / "a.png")
    assert f"HR folder {tmp_path / 'a.png'} is a file" in error_of(tmp_path / "a.png", scale=4)
    assert f"LR folder {tmp_path / 'no'} does not exist" in error_of(tmp_path, tmp_path / "no", scale=4)


def test_folder_without_images(tmp_path):
    (tmp_path / "hr").mkdir()
    (tmp_path / "hr/notes.txt").write_text("no image")
    assert f"{tmp_path / 'hr'} holds no image" in error_of(tmp_path / "hr", scale=4)
    (tmp_path / "lr").mkdir()
    assert f"HR folder {tmp_path / 'hr'} holds no image" in error_of(
        tmp_path / "hr", tmp_path / "lr", scale=4
    )


def test_missing_partner_names_the_image_and_what_was_looked_for(tmp_path, write_image):
    write_image(tmp_path / "hr/sub/a.png")
    write_image(tmp_path / "lr/ax4.png", 6, 8)
    sentence = error_of(tmp_path / "hr", tmp_path / "lr", scale=4)
    assert str(tmp_path / "hr/sub/a.png") in sentence
    assert "sub/a.png" in sentence
    assert "sub/ax4.png" in sentence


def test_sizes_that_do_not_fit_name_both_files_and_sizes(tmp_path, write_image):
    write_image(tmp_path / "hr/a.png", 24, 32)
    write_image(tmp_path / "lr/a.png", 12, 16)
    sentence = error_of(tmp_path / "hr", tmp_path / "lr", scale=4)
    assert f"{tmp_path / 'lr/a.png'} (16x12 pixels)" in sentence
    assert f"{tmp_path / 'hr/a.png'} (32x24 pixels)" in sentence
    assert "shrunk 4 times" in sentence
    FolderSource(tmp_path / "hr", tmp_path / "lr", scale=2)


def test_image_smaller_than_the_scale(tmp_path, write_image):
    write_image(tmp_path / "tiny.png", 3, 50)
    assert f"{tmp_path / 'tiny.png'} has 50x3 pixels" in error_of(tmp_path, scale=4)


@pytest.mark.parametrize("content", [b"hello, I am a text file\n" * 20, b""])
def test_file_that_is_no_image_is_found_by_its_header(content, tmp_path, write_image):
    write_image(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(content)
    assert str(tmp_path / "bad.png") in error_of(tmp_path, scale=4)


@pytest.mark.parametrize("bad", ["hr", "lr"])
def test_truncated_image_is_named_when_it_is_read(bad, tmp_path, write_image):
    write_image(tmp_path / "hr/a.png", 240, 320)
    write_image(tmp_path / "lr/a.png", 60, 80)
    file = tmp_path / bad / "a.png"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    source = FolderSource(tmp_path / "hr", tmp_path / "lr", scale=4)
    with pytest.raises(DataError) as caught:
        source[0]
    assert str(file) in str(caught.value)


def test_image_that_changes_while_it_is_in_use(tmp_path, write_image):
    write_image(tmp_path / "a.png", 24, 32)
    source = FolderSource(tmp_path, scale=4)
    write_image(tmp_path / "a.png", 48, 32)
    with pytest.raises(DataError, match=r"a\.png had 32x24 pixels .* 32x48 pixels now"):
        source[0]


# Memory and threads.


def test_decoded_pairs_stay_in_memory_up_to_the_budget(tmp_path, write_image):
    for name in "abc":
        write_image(tmp_path / f"{name}.png", 24, 32)
    one = 24 * 32 * 3 + 6 * 8 * 3
    source = FolderSource(tmp_path, scale=4, memory_bytes=2 * one)
    kept = [source[index]["hr"] is source[index]["hr"] for index in range(3)]
    assert kept == [True, True, False]
    with pytest.raises(ValueError, match="read-only"):
        source[0]["lr"][0] = 0


def test_many_threads_make_the_same_lr(tmp_path, write_image, own_cache):
    image = write_image(tmp_path / "a.png", 200, 200)
    source = FolderSource(tmp_path, scale=4)
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(source[0]["lr"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        np.testing.assert_array_equal(result, imresize(image, 1 / 4))
    assert len([path for path in own_cache.rglob("*") if path.is_file()]) == 1


# Bad images that are skipped.


def test_bad_headers_are_left_out_and_said(tmp_path, write_image):
    for name in ("a", "b", "tiny", "alone", "twice"):
        write_image(tmp_path / f"hr/{name}.png", *((3, 50) if name == "tiny" else (24, 32)))
    for name in ("a", "b", "tiny", "text"):
        write_image(tmp_path / f"lr/{name}.png", 6, 8)
    write_image(tmp_path / "lr/twice.png", 12, 16)
    (tmp_path / "hr/text.png").write_text("hello")
    skipped: dict[str, str] = {}
    source = FolderSource(tmp_path / "hr", tmp_path / "lr", scale=4, skipped=skipped)
    assert [source.name(index) for index in range(len(source))] == [
        str(tmp_path / "hr" / name) for name in ("a.png", "b.png")
    ]
    assert source[1]["hr"].shape == (24, 32, 3)
    assert [os.path.basename(name) for name in skipped] == ["alone.png", "text.png", "tiny.png", "twice.png"]  # noqa: PTH119
    for reason, words in zip(
        skipped.values(), ("no LR image", "is a text file", "50x3", "shrunk 4 times"), strict=True
    ):
        assert words in reason


def test_a_folder_of_bad_images_alone_is_an_error(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.png").write_text("hello")
    assert str(tmp_path / "b.png") in error_of(tmp_path, scale=4, skipped={})


@pytest.mark.parametrize("name", ["a", "ax4"])
def test_swapped_folders(tmp_path, name):
    """Found by sizes or by names, whichever shows it first."""
    write_picture(tmp_path / "HR" / "a.png", 64)
    write_picture(tmp_path / "LR" / f"{name}.png", 16)
    with pytest.raises(
        DataError, match=r"Swap the two folders, HR and LR: --config\.data\.train and --config"
    ) as caught:
        FolderSource(tmp_path / "LR", tmp_path / "HR", scale=4)
    assert str(tmp_path / "LR" / f"{name}.png") in str(caught.value)
    if name == "a":
        for words in ("HR/a.png (72x64 pixels) is larger", "LR/a.png (24x16 pixels)"):
            assert words in str(caught.value)
