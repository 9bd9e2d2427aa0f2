"""A TFDS set as it is written: shards of ArrayRecord, and the metadata by which TFDS reads them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esrgan_jax.errors import ConfigError
from esrgan_jax.system.files import atomic_write

STOCK = "div2k"
VERSION = "1.0.0"  # of sets that are not TFDS's own


@dataclass(frozen=True)
class SplitSize:
    """What a split holds.

    Attributes:
      shard_lengths: the number of examples in each shard.
      num_bytes: of all shards.
    """

    shard_lengths: list[int]
    num_bytes: int


class RecordSet:
    """A set of {lr, hr} pictures that TFDS reads: where it belongs, its shards, its metadata.

    The class does what TFDS's `GeneratorBasedBuilder.download_and_prepare` would, and leaves the same files.
    That one works in a folder with a random name, in one thread, and sorts all examples on disk before it
    writes the first shard: after a kill it begins again. Here shards come first and one by one.

    Args:
      name: "DATASET" or "DATASET/CONFIG".
      data_dir: where TFDS keeps its sets; None for TFDS's own choice.
      stock: whether this is TFDS's own `div2k/bicubic_x4` (or x2, x3, x8), with its version, description and
        citation, to be read by its class. Other sets are read without one.
      description: what the set holds, for other sets.

    Raises:
      ConfigError: TFDS would not read a set of that name, or take it for one of its own.
    """

    def __init__(self, name: str, data_dir: Path | None, *, stock: bool, description: str):
        import tensorflow_datasets as tfds

        self.name = name
        self.root = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser().absolute()
        if stock:
            builder = tfds.builder(name, data_dir=self.root)
            self.folder = Path(builder.data_dir)
            self._dataset, self._info = builder.name, builder.info
        else:
            self._dataset, config = _parsed(name)
            self.folder = self.root.joinpath(*name.split("/"), VERSION)
            identity = tfds.core.DatasetIdentity(
                name=self._dataset,
                config_name=config,
                version=tfds.core.Version(VERSION),
                data_dir=os.fspath(self.folder),
                module_name="",
            )
            features = tfds.features.FeaturesDict({"hr": tfds.features.Image(), "lr": tfds.features.Image()})
            self._info = tfds.core.DatasetInfo(
                builder=identity, description=description, features=features, supervised_keys=("lr", "hr")
            )
        self._serializer = tfds.core.ExampleSerializer(self._info.features.get_serialized_info())
        self._info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD, override=True)

    def shard_name(self, split: str, index: int, count: int) -> str:
        """The file name of shard `index`, from 0, of `count`."""
        return self._template(split).sharded_filepath(shard_index=index, num_shards=count).name

    def serialize(self, lr: bytes, hr: bytes) -> bytes:
        """An example, from the bytes of two picture files."""
        encoded = self._info.features.encode_example({"lr": io.BytesIO(lr), "hr": io.BytesIO(hr)})
        # TFDS's own serialize_example puts the two in an order that changes from process to process.
        return self._serializer.get_tf_example(encoded).SerializeToString(deterministic=True)

    def write_metadata(self, folder: Path, splits: Mapping[str, SplitSize], download_size: int) -> None:
        """Writes what makes a folder of shards a set: from now on TFDS reads it."""
        import tensorflow_datasets as tfds

        infos = [
            tfds.core.SplitInfo(
                name=name,
                shard_lengths=split.shard_lengths,
                num_bytes=split.num_bytes,
                filename_template=self._template(name),
            )
            for name, split in splits.items()
        ]
        self._info.set_splits(tfds.core.SplitDict(infos))
        self._info.download_size = download_size
        self._info.write_to_directory(folder)

    def _template(self, split: str) -> Any:
        import tensorflow_datasets as tfds

        return tfds.core.ShardedFileTemplate(
            dataset_name=self._dataset,
            data_dir=self.folder,
            split=split,
            filetype_suffix=tfds.core.FileFormat.ARRAY_RECORD.file_suffix,
        )


def write_shard(path: Path, examples: Iterable[bytes]) -> int:
    """Writes a shard: the whole file appears, or nothing does; the number of examples comes back.

    Raises:
      OSError: it cannot be written.
    """
    from array_record.python import array_record_module

    with atomic_write(path) as temporary:
        # A group of one, as TFDS writes it, for random access; zstd, the default, compresses the PNGs of examples.py.
        writer = array_record_module.ArrayRecordWriter(os.fspath(temporary), "group_size:1")
        count = 0
        try:
            for example in examples:
                writer.write(example)
                count += 1
            writer.close()
            written = array_record_module.ArrayRecordReader(os.fspath(temporary)).num_records()
        except RuntimeError as error:  # array_record's only one: the disk is full, the file too large, ...
            reason = re.search(r"\bfailed: ([^;]*)", str(error))
            raise OSError(reason[1] if reason else str(error)) from error
        if written != count:
            raise OSError(f"of {count} records {written} can be read back")
    return count


def _parsed(name: str) -> tuple[str, str | None]:
    """The parts of "DATASET/CONFIG"."""
    import tensorflow_datasets as tfds

    match = re.fullmatch(r"([a-z][a-z0-9_]*)(?:/(\w[\w.+-]*))?", name)
    if not match:
        raise ConfigError(
            f"--name {name} is not a name for TFDS: small letters, digits and _, as in photos or photos/bicubic_x4."
        )
    try:
        tfds.builder_cls(match[1])
    except Exception:  # Whatever it raises for a name that it does not know.
        return match[1], match[2]
    raise ConfigError(f"{match[1]} is a set of TFDS's own: choose another name with --name.")
