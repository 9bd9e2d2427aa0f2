"""Writing a set for TFDS: shards of ArrayRecord, and the metadata by which TFDS reads them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esrgan_jax.errors import ConfigError
from esrgan_jax.system.files import atomic_write, check_utf8, user_path

STOCK = "div2k"
VERSION = "1.0.0"  # of sets that are not TFDS's own


@dataclass(frozen=True)
class SplitSize:
    """The size of a split.

    Attributes:
      shard_lengths: number of examples in each shard.
      num_bytes: of all shards.
    """

    shard_lengths: list[int]
    num_bytes: int


class RecordSet:
    """A set of {lr, hr} pictures that TFDS reads: its folder, its shards, its metadata.

    It writes the files that TFDS's `GeneratorBasedBuilder.download_and_prepare` would. That works in a folder with a
    random name, in one thread, and sorts all examples on disk before it writes the first shard: after a kill it
    starts again. Here shards are written one by one, from the beginning.

    Args:
      name: "DATASET" or "DATASET/CONFIG".
      data_dir: where TFDS keeps its sets; None: TFDS's default.
      stock: whether this is TFDS's `div2k/bicubic_x4` (or x2, x3, x8), with its version, description and citation, to
        be read by its builder class. Other sets are read without one.
      description: of the contents, for other sets.

    Raises:
      ConfigError: TFDS would not read a set of that name, or has one of its own.
    """

    def __init__(self, name: str, data_dir: Path | None, *, stock: bool, description: str):
        import tensorflow_datasets as tfds

        self.name = name
        self.root = user_path(data_dir or tfds.core.constants.DATA_DIR).absolute()
        check_utf8(self.root)
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
        if not self.folder.exists():  # a finished set has its format, which TFDS refuses to set again
            self._info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD, override=True)

    def shard_name(self, split: str, index: int, count: int) -> str:
        """Return the file name of shard `index`, from 0, of `count`."""
        return self._template(split).sharded_filepath(shard_index=index, num_shards=count).name

    def serialize(self, lr: bytes, hr: bytes) -> bytes:
        """Return an example made from the bytes of two picture files."""
        encoded = self._info.features.encode_example({"lr": io.BytesIO(lr), "hr": io.BytesIO(hr)})
        # TFDS's serialize_example writes the two in an order that differs between processes.
        return self._serializer.get_tf_example(encoded).SerializeToString(deterministic=True)

    def write_metadata(self, folder: Path, splits: Mapping[str, SplitSize], download_size: int) -> None:
        """Write the metadata by which TFDS reads a folder of shards."""
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
    """Write a shard atomically; return the number of examples.

    Raises:
      OSError: it cannot be written.
    """
    from array_record.python import array_record_module

    with atomic_write(path) as temporary:
        # Groups of one, as TFDS writes them, for random access; the default zstd compresses the PNGs of subimages.py.
        writer = array_record_module.ArrayRecordWriter(os.fspath(temporary), "group_size:1")
        count = 0
        try:
            for example in examples:
                writer.write(example)
                count += 1
            writer.close()
            written = array_record_module.ArrayRecordReader(os.fspath(temporary)).num_records()
        except RuntimeError as error:  # the only class of array_record's errors: the disk is full, ...
            reason = re.search(r"\bfailed: ([^;]*)", str(error))
            raise OSError(reason[1] if reason else str(error)) from error
        if written != count:
            raise OSError(f"of {count} records {written} can be read back")
    return count


def _parsed(name: str) -> tuple[str, str | None]:
    """Return the parts of "DATASET/CONFIG"."""
    import tensorflow_datasets as tfds

    match = re.fullmatch(r"([a-z][a-z0-9_]*)(?:/(\w[\w.+-]*))?", name)
    if not match:
        raise ConfigError(
            f"--name {name} is not a name for TFDS: use small letters, digits and _, as photos or photos/bicubic_x4."
        )
    try:
        tfds.builder_cls(match[1])
    except Exception:  # of several classes: an unknown name
        return match[1], match[2]
    raise ConfigError(f"{match[1]} is the name of a set of TFDS: choose another with --name.")
