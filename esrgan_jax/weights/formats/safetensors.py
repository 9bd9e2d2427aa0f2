"""The .safetensors container: the length of a JSON header, the header, the arrays' bytes."""

import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from esrgan_jax.weights.formats.errors import MalformedFileError
from esrgan_jax.weights.formats.storages import MAX_DIMENSIONS, make_storage

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "U16": np.dtype(np.uint16),
    "U32": np.dtype(np.uint32),
    "U64": np.dtype(np.uint64),
    "BOOL": np.dtype(np.bool_),
}
MAX_HEADER = 2_000_000  # as Python objects some twenty times as much; 700 tensors need 70,000


def looks_like(data: bytes) -> bool:
    """Whether the first bytes are those of a .safetensors file."""
    return len(data) > 8 and data[8:9] == b"{"


def read(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays (read-only views of the file's bytes) and metadata.

    Raises:
      DamagedError: damaged.
    """
    (length,) = struct.unpack_from("<Q", data)
    if length > min(MAX_HEADER, len(data) - 8):
        raise MalformedFileError("its header is cut off or absurdly long")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        raise MalformedFileError("its header is damaged") from None
    metadata = header.pop("__metadata__", {}) if type(header) is dict else None
    if type(metadata) is not dict or not all(type(value) is str for value in metadata.values()):
        raise MalformedFileError("its header is damaged")
    body = memoryview(data)[8 + length :]
    arrays = {name: _array(body, entry) for name, entry in header.items()}
    if sum(array.nbytes for array in arrays.values()) > len(body):
        raise MalformedFileError("its tensors claim to be larger than the file")
    return arrays, metadata


def _array(body: memoryview, entry: Any) -> np.ndarray:
    shape, (start, end) = entry["shape"], entry["data_offsets"]
    numbers = (*shape, start, end)
    if len(shape) > MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n < 2**60 for n in numbers):
        raise MalformedFileError("it has a tensor of impossible size")
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        raise MalformedFileError(f"it has a tensor of the unknown type {ascii(entry['dtype'])[:20]}")
    if not start <= end <= len(body) or end - start != math.prod(shape) * dtype.itemsize:
        raise MalformedFileError("it has a tensor that reaches beyond its data")
    return make_storage(body[start:end], dtype).reshape(shape)


def write(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Writes arrays and metadata; the same input gives the same bytes.

    Raises:
      ValueError: an array has a dtype that the format lacks.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    for array in arrays.values():
        if array.dtype not in names:
            raise ValueError(f".safetensors has no tensors of {array.dtype}")
    # Wide elements first: then all of them begin at a multiple of their size.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
    header: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for name, array in ordered:
        offsets = [position, position := position + array.nbytes]
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in ordered:
            bits = np.asarray(array, order="C").reshape(-1).view(f"u{array.itemsize}")
            file.write((bits.byteswap() if sys.byteorder == "big" else bits).tobytes())
