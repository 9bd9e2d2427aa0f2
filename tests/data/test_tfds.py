"""TFDS sets built for the test, without TensorFlow, and read back."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from esrgan_jax.data.pipeline import make_train_iterator
from esrgan_jax.data.tfds import TfdsSource
from esrgan_jax.errors import DataError
from esrgan_jax.imaging.resize import imresize


def noise(seed: int, height: int, width: int) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[:4, :4] = 250, 120, 10  # A place whose channels cannot be mistaken.
    return image


def png(image: np.ndarray) -> io.BytesIO:
    # TFDS encodes arrays with TensorFlow; files and their contents it stores as they are.
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    buffer.seek(0)
    return buffer


# Not registered, so that reading goes by what is on disk, as it does in a later process.
class TinyPairs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"hr": tfds.features.Image(), "lr": tfds.features.Image()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(range(5)),
            "validation": self._generate_examples(range(9, 10)),
        }

    def _generate_examples(self, seeds):
        for seed in seeds:
            hr = noise(seed, 26 + seed, 33)
            yield seed, {"hr": png(hr), "lr": png(noise(seed, -(-len(hr) // 4), 9))}


class Div2k(TinyPairs, skip_registration=True):
    """Stands where the stock `div2k/bicubic_x4` would, whose own class then reads it."""

    VERSION = tfds.core.Version("2.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="bicubic_x4")]  # noqa: RUF012


class TinyImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(26, 30, 3))})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"image": png(noise(0, 26, 30))}


class TinyGrey(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(None, None, 1))})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"image": png(np.zeros((8, 8), np.uint8))}


class TinyLabels(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"label": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"label": 3}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    for builder in (TinyPairs, Div2k, TinyImages, TinyGrey, TinyLabels):
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def test_lr_and_hr_come_as_they_were_written(data_dir):
    source = TfdsSource("tiny_pairs", "train", 4, data_dir)
    assert len(source) == 5
    assert source.name(3) == "example 3 of tfds:tiny_pairs (train)"
    assert source.hr_size(0) is None
    assert [shard.is_file() and shard.parent.parent.parent for shard in source.shards] == [data_dir]
    heights = []
    for index in range(5):
        pair = source[index]
        heights.append(pair["hr"].shape[0])
        assert pair["hr"].shape[1] == 32
        assert pair["lr"].shape == (pair["hr"].shape[0] // 4, 8, 3)
        assert pair["hr"].dtype == pair["lr"].dtype == np.uint8
    assert sorted(heights) == [24, 24, 28, 28, 28]
    validation = TfdsSource("tiny_pairs", "validation", 4, data_dir)[0]
    np.testing.assert_array_equal(validation["hr"], noise(9, 35, 33)[:32, :32])
    np.testing.assert_array_equal(validation["lr"], noise(9, 9, 9)[:8, :8])


def test_image_alone_is_shrunk(data_dir):
    source = TfdsSource("tiny_images", "train", 2, data_dir)
    assert source.hr_size(0) == (26, 30)
    np.testing.assert_array_equal(source[0]["hr"], noise(0, 26, 30))
    np.testing.assert_array_equal(source[0]["lr"], imresize(noise(0, 26, 30), 1 / 2))


def test_stock_set(data_dir):
    source = TfdsSource("div2k/bicubic_x4", "validation", 4, str(data_dir))
    assert source.name(0) == "example 0 of tfds:div2k/bicubic_x4 (validation)"
    np.testing.assert_array_equal(source[0]["hr"], noise(9, 35, 33)[:32, :32])


def test_threads_read_batches(data_dir):
    iterator = make_train_iterator(
        TfdsSource("tiny_pairs", "train", 4, data_dir, memory_bytes=0),
        scale=4,
        gt_size=16,
        batch_size=8,
        seed=0,
        num_threads=4,
    )
    for _ in range(5):
        batch = next(iterator)
        assert batch["lr"].shape == (8, 4, 4, 3)
        assert batch["hr"].shape == (8, 16, 16, 3)


def test_decoded_pairs_stay_in_memory_up_to_the_budget(data_dir):
    source = TfdsSource("tiny_images", "train", 2, data_dir)
    assert source[0] is source[0]
    source = TfdsSource("tiny_images", "train", 2, data_dir, memory_bytes=100)
    assert source[0] is not source[0]


def error_of(*args) -> str:
    with pytest.raises(DataError) as caught:
        TfdsSource(*args)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def assert_ways_out(sentence: str) -> None:
    assert "prepare it (esrgan-jax prepare " in sentence
    assert "name a folder of HR images" in sentence
    assert "sample for the embedded photos" in sentence


def test_set_that_is_not_prepared(tmp_path, caplog):
    sentence = error_of("div2k/bicubic_x4", "train", 4, tmp_path)
    assert f"tfds:div2k/bicubic_x4 is not prepared in {tmp_path}" in sentence
    assert_ways_out(sentence)
    assert f"(esrgan-jax prepare div2k --whole --data-dir {tmp_path}," in sentence
    assert caplog.records == []  # TFDS's own lines would only stand in front of the sentence.


@pytest.mark.parametrize(
    "name", ["no_such_set", "div2k/no_such_config", "div2k:9.9.9", "not a name", "a/b/c", ""]
)
def test_set_that_tfds_does_not_know(name, tmp_path):
    sentence = error_of(name, "train", 4, tmp_path)
    assert f"TFDS knows no data set {name!r}" in sentence
    assert ("--name" in sentence) != name.startswith("div2k")
    assert_ways_out(sentence)


def test_split_that_is_not_there(data_dir):
    sentence = error_of("tiny_pairs", "test", 4, data_dir)
    assert "no split 'test', only train, validation" in sentence


def test_set_without_images(data_dir):
    sentence = error_of("tiny_labels", "train", 4, data_dir)
    assert "tfds:tiny_labels has the features label" in sentence
    sentence = error_of("tiny_grey", "train", 4, data_dir)
    assert "feature image of tfds:tiny_grey" in sentence
    assert "not uint8 RGB" in sentence


def test_format_without_random_access(data_dir, tmp_path):
    shutil.copytree(data_dir / "tiny_pairs", tmp_path / "tiny_pairs")
    info = tmp_path / "tiny_pairs/1.0.0/dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    sentence = error_of("tiny_pairs", "train", 4, tmp_path)
    assert "is tfrecord, which has no random access" in sentence
    assert_ways_out(sentence)


def test_wrong_scale_names_the_example(data_dir):
    source = TfdsSource("tiny_pairs", "train", 2, data_dir)
    with pytest.raises(
        DataError, match=r"LR of example 0 of tfds:tiny_pairs \(train\) .* is not example 0 .* shrunk 2 times"
    ):
        source[0]


def test_example_smaller_than_the_scale(data_dir):
    source = TfdsSource("tiny_images", "train", 27, data_dir)
    with pytest.raises(DataError, match=r"example 0 of tfds:tiny_images \(train\) has 30x26 pixels, too few"):
        source[0]


@pytest.mark.parametrize("damage", ["remove", "overwrite"])
def test_damaged_file_names_the_example(damage, data_dir, tmp_path):
    shutil.copytree(data_dir / "tiny_pairs", tmp_path / "tiny_pairs")
    [file] = (tmp_path / "tiny_pairs/1.0.0").glob("*train.array_record*")
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(DataError, match=r"example 1 of tfds:tiny_pairs \(train\) cannot be read"):
        TfdsSource("tiny_pairs", "train", 4, tmp_path)[1]
