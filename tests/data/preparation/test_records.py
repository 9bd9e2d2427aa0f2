"""Shards that are whole or not there, and names that TFDS would read."""

from __future__ import annotations

import random
import resource
import signal

import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader

from esrgan_jax.data.preparation.records import RecordSet, SplitSize, write_shard
from esrgan_jax.errors import ConfigError


def test_records_come_back_in_their_order(tmp_path):
    examples = [bytes([value]) * (1000 + value) for value in range(20)]
    assert write_shard(tmp_path / "a", iter(examples)) == 20
    reader = ArrayRecordReader(str(tmp_path / "a"))
    assert reader.num_records() == 20
    assert reader.read(list(range(20))) == examples


def test_a_shard_that_breaks_off_is_not_there(tmp_path):
    def examples():
        yield b"one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "a", examples())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room(tmp_path):
    # The nearest that a test can have without a disk of its own: the system refuses to make the file larger.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_shard(tmp_path / "a", [random.Random(0).randbytes(400_000)] * 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mine", "my_set2/bicubic_x4", "m/a.b-c+d"])
def test_names_that_tfds_reads(name, tmp_path):
    records = RecordSet(name, tmp_path, stock=False, description="two words")
    assert records.folder == tmp_path / name / "1.0.0"
    for index, length in enumerate([0, 2]):  # a shard may be empty
        examples = [records.serialize(b"lr", b"hr")] * length
        write_shard(records.folder / records.shard_name("train", index, 2), examples)
    with pytest.raises(Exception, match="not found"):
        tfds.builder(name, data_dir=tmp_path)
    records.write_metadata(records.folder, {"train": SplitSize([0, 2], 99)}, 7)
    info = tfds.builder(name, data_dir=tmp_path).info
    assert (info.description, info.download_size, info.dataset_size) == ("two words", 7, 99)
    assert info.splits["train"].num_examples == 2


@pytest.mark.parametrize("name", ["", "Mine", "9a", "a b", "a/b/c", "a:1.0.0", "../a", "a/.."])
def test_names_that_tfds_would_not_read(name, tmp_path):
    with pytest.raises(ConfigError, match="is not a name for TFDS"):
        RecordSet(name, tmp_path, stock=False, description="")


def test_names_that_tfds_would_take_for_its_own(tmp_path):
    for name in ("mnist", "div2k/mine"):
        with pytest.raises(ConfigError, match="is the name of a set of TFDS"):
            RecordSet(name, tmp_path, stock=False, description="")


def test_examples_have_the_same_bytes_in_every_process(tmp_path):
    records = RecordSet("mine", tmp_path, stock=False, description="")
    example = records.serialize(b"small", b"large")
    assert example.index(b"hr") < example.index(b"large") < example.index(b"lr") < example.index(b"small")


def test_the_stock_set(tmp_path):
    records = RecordSet("div2k/bicubic_x4", tmp_path, stock=True, description="")
    stock = tfds.builder("div2k/bicubic_x4", data_dir=tmp_path)
    assert str(records.folder) == str(stock.data_dir) == str(tmp_path / "div2k/bicubic_x4/2.0.0")
    assert records.shard_name("validation", 3, 16) == "div2k-validation.array_record-00003-of-00016"
