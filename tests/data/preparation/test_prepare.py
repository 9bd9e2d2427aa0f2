"""Sets prepared from folders, read back by TFDS; tests/cli/test_prepare.py has the command and kills."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import div2k_zips
from PIL import Image

from esrgan_jax.data.preparation.originals import folder_originals
from esrgan_jax.data.preparation.prepare import prepare
from esrgan_jax.data.preparation.records import RecordSet
from esrgan_jax.data.preparation.shards import Split, _map_prefetched
from esrgan_jax.data.preparation.subimages import SubimageGrid
from esrgan_jax.data.tfds import TfdsSource
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.resize import imresize
from esrgan_jax.imaging.rgb_files import read_rgb

GRID = SubimageGrid(crop_size=96, step=48)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Real pictures of all sizes, one in a folder below, one JPEG."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for number in div2k_zips.PICTURES["train"]:
        (folder / f"{number}.png").write_bytes(div2k_zips.png(div2k_zips.hr("train", number)))
    Image.fromarray(div2k_zips.hr("valid", "0801")).save(folder / "below/cat.jpg", quality=90)
    return folder


@pytest.fixture
def prepared(tmp_path) -> Callable:
    """Prepares a folder, with what is usual here."""

    def run(
        folder: Path,
        lr: Path | None = None,
        *,
        name="mine",
        grid: SubimageGrid | None = GRID,
        scale=4,
        **kwargs,
    ):
        records = RecordSet(name, tmp_path / "sets", stock=False, description="a test")
        splits = {"train": Split(folder_originals(folder, lr, scale), grid)}
        return prepare(records, splits, scale=scale, workers=3, **kwargs)

    return run


def read(data_dir: Path, name="mine", split="train") -> list[dict[str, np.ndarray]]:
    return list(tfds.data_source(name, split=split, data_dir=data_dir))


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(first[key], second[key]) for key in ("lr", "hr"))


def sub_images(hr: np.ndarray, lr: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Pairs of 96 and 24 pixels, every 48 and 12 and at the border, written down plainly."""

    def starts(size):
        found = list(range(0, size - 24 + 1, 12))
        return found if found[-1] == size - 24 else [*found, size - 24]

    return [
        {"lr": lr[y : y + 24, x : x + 24], "hr": hr[4 * y : 4 * y + 96, 4 * x : 4 * x + 96]}
        for y in starts(lr.shape[0])
        for x in starts(lr.shape[1])
    ]


def test_sub_images_are_crops_of_the_whole_pictures(photos, prepared, tmp_path):
    report = prepared(photos)
    expected = []
    for file in photos.rglob("*.*"):
        image = read_rgb(file)
        hr = image[: image.shape[0] // 4 * 4, : image.shape[1] // 4 * 4]
        expected += sub_images(hr, imresize(hr, 1 / 4))
    found = read(tmp_path / "sets")
    assert len(found) == len(expected) > 50
    for pair in expected:
        [place] = [place for place, other in enumerate(found) if same(pair, other)]
        del found[place]
    train = report["splits"]["train"]
    assert (train["images"], train["examples"], train["small"]) == (5, len(expected), 0)
    folder = tmp_path / "sets/mine/1.0.0"
    shards = list(folder.glob("*array_record*"))
    assert (train["shards"], train["bytes"]) == (len(shards), sum(file.stat().st_size for file in shards))
    assert json.loads((folder / "prepare.json").read_text()) == report
    assert [file.name for file in folder.parent.iterdir()] == ["1.0.0"]


def test_lr_pictures_of_a_folder_are_taken_as_they_are(photos, prepared, tmp_path):
    (photos / "below/cat.jpg").unlink()
    for number in div2k_zips.PICTURES["train"]:
        file = tmp_path / "lr" / f"{number}x4.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(div2k_zips.png(div2k_zips.lr("train", number)))
    prepared(photos, tmp_path / "lr")
    found = read(tmp_path / "sets")
    for number in div2k_zips.PICTURES["train"]:
        hr, lr = div2k_zips.hr("train", number), div2k_zips.lr("train", number)
        height, width = hr.shape[0] // 4, hr.shape[1] // 4
        for pair in sub_images(hr[: 4 * height, : 4 * width], lr[:height, :width]):
            assert any(same(pair, other) for other in found)


def test_our_own_source_reads_it(photos, prepared, tmp_path):
    prepared(photos, name="mine/bicubic_x2", scale=2)
    source = TfdsSource("mine/bicubic_x2", "train", 2, tmp_path / "sets")
    assert source[0]["hr"].shape == (96, 96, 3)
    assert source[0]["lr"].shape == (48, 48, 3)


def test_whole_pictures_keep_their_bytes_where_tfds_reads_them_alike(photos, prepared, tmp_path):
    grey = div2k_zips.hr("train", "0001")[..., 0]
    Image.fromarray(grey).save(photos / "grey.png")
    alpha = np.dstack([div2k_zips.hr("train", "0001"), grey])
    Image.fromarray(alpha).save(photos / "alpha.png")
    cv2.imwrite(str(photos / "sixteen.png"), np.repeat(grey[..., None].astype(np.uint16) * 257, 3, axis=2))
    Image.fromarray(grey).save(photos / "picture.bmp")
    prepared(photos, grid=None)
    stored = list(
        tfds.data_source(
            "mine", split="train", data_dir=tmp_path / "sets", decoders={"hr": tfds.decode.SkipDecoding()}
        )
    )
    files = sorted(photos.rglob("*.*"))
    assert len(stored) == len(files) == 9
    kept = {bytes(example["hr"]) for example in stored} & {file.read_bytes() for file in files}
    assert kept == {
        file.read_bytes() for file in files if file.stem in ("cat", "0001", "0002", "0003", "0004")
    }
    found = read(tmp_path / "sets")
    for file in files:
        hr = read_rgb(file)
        lr = imresize(hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4], 1 / 4)
        assert any(same({"lr": lr, "hr": hr}, other) for other in found)


def test_a_picture_smaller_than_a_sub_image(photos, prepared, tmp_path, write_image):
    image = write_image(photos / "small.png", 40, 100)
    assert prepared(photos)["splits"]["train"]["small"] == 1
    lr = imresize(image, 1 / 4)
    for x in (0, 4):
        pair = {"lr": lr[:, x // 4 : x // 4 + 24], "hr": image[:, x : x + 96]}
        assert any(same(pair, other) for other in read(tmp_path / "sets"))


# What cannot be used.


@pytest.fixture
def with_bad_ones(photos, write_image) -> Path:
    """Sixteen more pictures, so that there are four shards, and two that cannot be used."""
    for number in range(16):
        write_image(photos / f"noise{number}.png", 100, 100)
    (photos / "text.png").write_text("no picture")
    whole = (photos / "0001.png").read_bytes()
    (photos / "half.png").write_bytes(whole[: len(whole) // 2])
    return photos


def times(folder: Path) -> dict[str, int]:
    """When each shard was written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("*array_record-0*")}


def test_bad_pictures_are_an_error_that_loses_nothing(with_bad_ones, prepared, tmp_path, capsys):
    with pytest.raises(DataError) as caught:
        prepared(with_bad_ones)
    sentence = str(caught.value)
    assert sentence.startswith("2 of 23 pictures cannot be used, the first because: ")
    assert "--on-bad-image=skip" in sentence
    bad = capsys.readouterr().err
    assert f"{with_bad_ones}/text.png is a text file" in bad
    assert f"{with_bad_ones}/half.png is incomplete" in bad
    assert not (tmp_path / "sets/mine/1.0.0").exists()
    with pytest.raises(DataError, match="TFDS knows no data set"):
        TfdsSource("mine", "train", 4, tmp_path / "sets")
    made = times(tmp_path / "sets/mine/1.0.0.incomplete/set")
    assert len(made) == 4

    report = prepared(with_bad_ones, skip_bad=True)
    assert times(tmp_path / "sets/mine/1.0.0") == made
    assert sorted(Path(sentence.split(" ")[0]).name for sentence in report["skipped"]) == [
        "half.png",
        "text.png",
    ]
    assert report["splits"]["train"]["images"] == 21
    assert len(read(tmp_path / "sets")) == report["splits"]["train"]["examples"]


def test_only_shards_with_other_pictures_are_made_again(with_bad_ones, prepared, tmp_path):
    with pytest.raises(DataError):
        prepared(with_bad_ones)
    before = times(tmp_path / "sets/mine/1.0.0.incomplete/set")
    pair = div2k_zips.hr("train", "0003")[:100, :100]
    (with_bad_ones / "noise5.png").write_bytes(div2k_zips.png(pair))  # another picture now
    report = prepared(with_bad_ones, skip_bad=True)
    after = times(tmp_path / "sets/mine/1.0.0")
    assert sum(after[name] != before[name] for name in before) == 1
    found = read(tmp_path / "sets")
    assert len(found) == report["splits"]["train"]["examples"]
    assert any(np.array_equal(example["hr"], pair[:96, :96]) for example in found)


def test_removing_a_bad_picture_changes_one_shard(with_bad_ones, prepared, tmp_path):
    (with_bad_ones / "half.png").unlink()
    with pytest.raises(DataError, match="1 of 22"):
        prepared(with_bad_ones)
    before = times(tmp_path / "sets/mine/1.0.0.incomplete/set")
    (with_bad_ones / "text.png").unlink()
    prepared(with_bad_ones)
    after = times(tmp_path / "sets/mine/1.0.0")
    assert sum(after[name] != before[name] for name in before) == 1


def test_bad_pictures_are_tried_again_though_they_seem_the_same(with_bad_ones, prepared, tmp_path):
    (with_bad_ones / "text.png").unlink()
    file = with_bad_ones / "half.png"
    whole = (with_bad_ones / "0001.png").read_bytes()
    file.write_bytes(bytes(len(whole)))
    os.utime(file, ns=(0, 0))
    with pytest.raises(DataError, match="1 of 22"):
        prepared(with_bad_ones)
    file.write_bytes(whole)  # as on a drive that failed for a moment
    os.utime(file, ns=(0, 0))
    assert prepared(with_bad_ones)["splits"]["train"]["images"] == 22


def test_a_damaged_shard_and_strange_files_are_not_taken_up(with_bad_ones, prepared, tmp_path):
    with pytest.raises(DataError):
        prepared(with_bad_ones)
    work = tmp_path / "sets/mine/1.0.0.incomplete"
    first, second, *_ = sorted(work.glob("set/*"))
    first.write_bytes(first.read_bytes()[:-1])
    (work / "reports" / second.name).write_text("{")
    (work / "set/.left-over").write_text("")
    report = prepared(with_bad_ones, skip_bad=True)
    assert len(read(tmp_path / "sets")) == report["splits"]["train"]["examples"]
    assert not (tmp_path / "sets/mine/1.0.0/.left-over").exists()


def test_nothing_but_bad_pictures(tmp_path, prepared):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/text.png").write_text("no picture")
    with pytest.raises(DataError, match="No picture for the split train of mine can be used"):
        prepared(tmp_path / "bad", skip_bad=True)
    assert not (tmp_path / "sets/mine/1.0.0").exists()


# What is there already.


def test_a_set_that_is_there_stays_as_it_is(photos, prepared, tmp_path):
    report = prepared(photos)
    before = times(tmp_path / "sets/mine/1.0.0")
    assert prepared(photos) == report
    with pytest.raises(DataError, match=r"mine/1\.0\.0 exists, but was made from other pictures"):
        prepared(photos, grid=SubimageGrid(96, 96))
    (photos / "0001.png").unlink()
    with pytest.raises(DataError, match="but was made from other pictures"):
        prepared(photos)
    assert times(tmp_path / "sets/mine/1.0.0") == before


def test_two_at_a_time_are_one_too_many(photos, prepared, tmp_path):
    work = tmp_path / "sets/mine/1.0.0.incomplete"
    work.mkdir(parents=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="Another process is at work in"):
            prepared(photos)
    prepared(photos)


def test_a_place_that_cannot_be_written(photos, prepared, tmp_path):
    (tmp_path / "sets").write_text("a file")
    with pytest.raises(DataError, match=r"sets/mine/1\.0\.0 cannot be prepared \(Not a directory\)"):
        prepared(photos)


# How it is done.


def test_the_number_of_threads_changes_nothing(photos, tmp_path):
    contents = []
    for workers in (1, 4):
        records = RecordSet("mine", tmp_path / str(workers), stock=False, description="a test")
        prepare(records, {"train": Split(folder_originals(photos, None, 4), GRID)}, scale=4, workers=workers)
        contents.append({file.name: file.read_bytes() for file in records.folder.iterdir()})
    assert contents[0] == contents[1]


def test_threads_work_ahead_but_not_far():
    started, lock = [0], threading.Lock()

    def work(item):
        with lock:
            started[0] += 1
        return item

    with ThreadPoolExecutor(4) as pool:
        for taken, item in enumerate(_map_prefetched(pool, work, range(50), 8)):
            assert item == taken
            assert started[0] <= taken + 8
