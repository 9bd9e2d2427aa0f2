"""Pairs from a data set prepared for TFDS, read at random without TensorFlow."""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from esrgan_jax.data.pairs import DEFAULT_MEMORY_BYTES, Pair, PairMemory, paired
from esrgan_jax.errors import DataError

_SOURCES = {"div2k": ["div2k", "--whole"], "div2k_sub": ["div2k"]}
"""What `esrgan-jax prepare` makes these sets of; all others are made of folders."""


class TfdsSource:
    """One split of a prepared TFDS set with the features `lr` and `hr`, or `image` alone.

    `image` alone is HR, and LR is MATLAB's bicubic. The set must be array_record or parquet, which TFDS reads at
    random without TensorFlow; nothing is downloaded or prepared. Decoded pairs stay in memory up to `memory_bytes`.
    Items are {"lr": uint8 [h, w, 3], "hr": uint8 [h * scale, w * scale, 3]}.

    Raises:
      DataError: TFDS does not know the set, or it is not prepared, has another format, or lacks the split or the
        features. When an example is read: it is damaged, or LR and HR do not fit the scale.
    """

    def __init__(
        self,
        name: str,
        split: str,
        scale: int,
        data_dir: str | Path | None = None,
        *,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ):
        self._label = f"tfds:{name}"
        self._split = split
        self._scale = scale
        self._memory = PairMemory(memory_bytes)
        with _quiet_absl():
            builder = _prepared_builder(name, data_dir)
            if split not in builder.info.splits:
                raise DataError(
                    f"{self._label} in {builder.data_path} has no split {split!r}, only "
                    f"{', '.join(sorted(builder.info.splits))}."
                )
            self.shards = [Path(file) for file in builder.info.splits[split].filepaths]
            features = builder.info.features
            self._hr_feature, self._hr_shape = _hr_feature(self._label, features)
            try:
                self._examples = builder.as_data_source(split=split, decoders=_undecoded(features))
            except Exception as error:  # of several classes; what the user can do is the same
                raise DataError(
                    f"{self._label} cannot be opened ({_first_line(error)}): {_ways_out(name, data_dir)}."
                ) from error

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Pair:
        return self._memory.get_or_read(index, self._read)

    def name(self, index: int) -> str:
        """Return "example INDEX of tfds:NAME (SPLIT)"."""
        return f"example {index} of {self._label} ({self._split})"

    def hr_size(self, index: int) -> tuple[int, int] | None:
        """Return (height, width) if the set has one size for all; None if it is not known before decoding."""
        height, width = self._hr_shape[:2]
        return None if height is None or width is None else (height, width)

    def _read(self, index: int) -> Pair:
        try:
            example = {name: _decoded(value) for name, value in self._examples[index].items()}
        except Exception as error:  # array_record, protobuf and OpenCV have different ones
            raise DataError(
                f"{self.name(index)} cannot be read ({_first_line(error)}): prepare the set again."
            ) from error
        hr = self._checked(index, example[self._hr_feature])
        lr = None if self._hr_feature == "image" else self._checked(index, example["lr"])
        return paired(hr, lr, self._scale, self.name(index), f"LR of {self.name(index)}")

    def _checked(self, index: int, image: Any) -> np.ndarray:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(f"{self.name(index)} is {image.dtype} {list(image.shape)}, not uint8 RGB.")
        return image


def _prepared_builder(name: str, data_dir: str | Path | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # several classes: unknown name, configuration or version, ...
        reason = _first_line(error).rpartition('}": ')[2]  # without TFDS's list of constructor arguments
        raise DataError(
            f"TFDS knows no data set {name!r} ({reason}): {_ways_out(name, data_dir)}."
        ) from error
    if not builder.is_prepared():
        raise DataError(f"tfds:{name} is not prepared in {builder.data_path}: {_ways_out(name, data_dir)}.")
    formats = builder.info.available_file_formats()
    if not formats & tfds.core.FileFormat.with_random_access():
        found = ", ".join(sorted(file_format.value for file_format in formats)) or "no known format"
        raise DataError(
            f"tfds:{name} in {builder.data_path} is {found}, which has no random access: {_ways_out(name, data_dir)}."
        )
    return builder


def _ways_out(name: str, data_dir: str | Path | None) -> str:
    words = ["esrgan-jax", "prepare", *_SOURCES.get(re.split("[/:]", name)[0], ["FOLDER", "--name", name])]
    words += ["--data-dir", str(data_dir)] if data_dir else []
    return (
        f"prepare it ({shlex.join(words)}, or TFDS as array_record), or name a folder of HR images, or sample for "
        "the embedded photos, instead"
    )


def _hr_feature(label: str, features: Any) -> tuple[str, tuple[int | None, ...]]:
    """Return the name and shape of the HR feature."""
    names = set(features)
    if {"lr", "hr"} <= names:
        used = ["hr", "lr"]
    elif "image" in names:
        used = ["image"]
    else:
        raise DataError(
            f"{label} has the features {', '.join(sorted(names))}, but training needs lr and hr, or image."
        )
    for feature in used:
        shape, dtype = features[feature].shape, features[feature].np_dtype
        if not isinstance(shape, tuple) or len(shape) != 3 or shape[2] not in (3, None) or dtype != np.uint8:
            raise DataError(f"The feature {feature} of {label} is {features[feature]!r}, not uint8 RGB.")
    return used[0], features[used[0]].shape


def _undecoded(features: Any) -> dict[str, Any]:
    """Return decoders by which TFDS leaves images encoded: decoding them here saves a pass from BGR to RGB."""
    import tensorflow_datasets as tfds

    names = {"hr", "lr", "image"} & set(features)
    return {
        name: tfds.decode.SkipDecoding() for name in names if isinstance(features[name], tfds.features.Image)
    }


def _decoded(value: Any) -> Any:
    """Decode the bytes of an image file to uint8 RGB; return anything else as it is."""
    if not isinstance(value, bytes):
        return value
    # A record has a checksum, unlike a file: OpenCV gets no truncated pictures, which it would take for intact ones.
    image = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError("its bytes are no image")
    return image


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Suppress TFDS's log lines about a missing set: our error says it, and what to do."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
