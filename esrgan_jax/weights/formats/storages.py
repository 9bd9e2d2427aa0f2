"""PyTorch's storages as flat arrays, and tensors as views into them."""

import math
import sys
from typing import Any

import ml_dtypes
import numpy as np

from esrgan_jax.weights.formats.errors import MalformedFileError
from esrgan_jax.weights.formats.machine import ordered_dict
from esrgan_jax.weights.formats.placeholder import Placeholder

STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
"""The name of a torch storage class -> the dtype of its elements."""

OPAQUE = {
    "torch.QInt8Storage": np.dtype("V1"),
    "torch.QUInt8Storage": np.dtype("V1"),
    "torch.QInt32Storage": np.dtype("V4"),
    "torch.ComplexFloatStorage": np.dtype("V8"),
    "torch.ComplexDoubleStorage": np.dtype("V16"),
    "torch.storage.UntypedStorage": np.dtype("V1"),
}
"""Storages whose elements are bytes without a meaning here: quantised and complex numbers, and those of `DTYPES`."""

DTYPES = {
    f"torch.{name}": np.dtype(getattr(ml_dtypes, name))
    for name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
}
"""Dtypes that have no storage class of their own."""

MAX_DIMENSIONS = 8
MAX_EXPANSION = 16_000_000
"""Bytes by which tensors may exceed their storages in all: a stride of 0 repeats an element for nothing."""

_CLASSES = {
    f"{module}.{name}": dtype for module in ("torch", "torch.cuda") for name, dtype in STORAGES.items()
}


class TensorBuilder:
    """Makes the tensors of one file."""

    def __init__(self) -> None:
        self._room = MAX_EXPANSION

    def known(self) -> dict[str, Any]:
        """Every Python object that a file of weights may name, and what it stands for here."""
        return {
            **_CLASSES,
            **OPAQUE,
            **DTYPES,
            **{name.replace("Storage", "Tensor"): None for name in _CLASSES},  # tar files name these idly
            "collections.OrderedDict": ordered_dict,
            "torch._utils._rebuild_tensor_v2": self.build,
            "torch._utils._rebuild_tensor": self.build,  # before torch 0.4
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
            "torch._utils._rebuild_tensor_v3": self._build_of_dtype,
            "torch._utils._rebuild_qtensor": self.build,
            # A tensor of another class, or with attributes: a plain tensor.
            "torch._tensor._rebuild_from_type_v2": lambda function, _, parts, *__: function(*parts),
        }

    def _build_of_dtype(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
        dtype = rest[2]
        known = type(storage) is np.ndarray and isinstance(dtype, np.dtype)
        return self.build(storage.view(dtype) if known else dtype, offset, shape, strides)

    def build(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
        """A tensor as a read-only view of its storage; gradients and hooks are left out.

        A placeholder for a storage gives one for the tensor.

        Args:
          storage: a flat array.
          offset: of the first element, in elements.
          shape: as a tuple.
          strides: in elements, one for each axis.

        Raises:
          DamagedError: it reaches beyond its storage, or all are far larger than their storages.
        """
        if isinstance(storage, Placeholder):
            return storage
        if type(storage) is not np.ndarray or len(shape) != len(strides):
            raise MalformedFileError("it has a tensor without a storage")
        numbers = (offset, *shape, *strides)
        if len(shape) > MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n < 2**60 for n in numbers):
            raise MalformedFileError("it has a tensor of impossible size")
        if 0 in shape:
            return np.empty([min(size, 2**31) for size in shape], storage.dtype)
        # Torch lets the stride of an axis of length one be anything.
        steps = [stride if size > 1 else 0 for size, stride in zip(shape, strides, strict=True)]
        if offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) >= storage.size:
            raise MalformedFileError("it has a tensor that reaches beyond its storage")
        self._room -= max(0, math.prod(shape) - storage.size) * storage.itemsize
        if self._room < 0:
            raise MalformedFileError("it has tensors that are far larger than the file")
        strides = [step * storage.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides, writeable=False)


def storage_dtype(storage_class: Any) -> np.dtype:
    """The dtype that a storage class in a pickle stands for.

    Raises:
      DamagedError: it is something else.
    """
    if not isinstance(storage_class, np.dtype):
        raise MalformedFileError("it has a storage of no known type")
    return storage_class


def make_storage(raw: memoryview, dtype: np.dtype, big_endian: bool = False) -> np.ndarray:
    """A storage's bytes as a flat read-only array; copied only where the byte order is not the machine's."""
    array = np.frombuffer(raw, dtype)
    if dtype.itemsize == 1 or big_endian == (sys.byteorder == "big"):
        return array
    return array.view(f"u{dtype.itemsize}").byteswap().view(dtype)


def counted_storage(data: bytes | memoryview, position: int, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """A storage that an int64 count precedes, as legacy and tar files have them, and the offset behind it.

    Torch writes both in little-endian order on every machine.

    Raises:
      DamagedError: the data ends too early.
    """
    count = int.from_bytes(data[position : position + 8], "little", signed=True)
    start = position + 8
    end = start + count * dtype.itemsize
    if count < 0 or end > len(data):
        raise MalformedFileError("it ends too early")
    return make_storage(memoryview(data)[start:end], dtype), end


def storage_part(storage: np.ndarray, offset: Any, size: Any) -> np.ndarray:
    """A piece of a storage, `size` elements from `offset`.

    Raises:
      DamagedError: it reaches beyond the storage.
    """
    if type(offset) is not int or type(size) is not int or not 0 <= offset <= offset + size <= storage.size:
        raise MalformedFileError("it has a tensor that reaches beyond its storage")
    return storage[offset : offset + size]
