"""PyTorch's .pth files without PyTorch: zip (since 1.6), legacy (0.1.10 to 1.5) and tar (before).

All three are a pickle whose tensors say "this shape and these strides in storage K", and the storages' raw
bytes. Tensors come out as read-only views of the file's bytes: storages stay shared, strides stay strides.
"""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from esrgan_jax.weights.formats import pickles
from esrgan_jax.weights.formats.archives import ZipArchive, listing, tar_members
from esrgan_jax.weights.formats.errors import MalformedFileError, OtherFileError
from esrgan_jax.weights.formats.placeholder import Placeholder
from esrgan_jax.weights.formats.storages import (
    MAX_DIMENSIONS,
    STORAGES,
    TensorBuilder,
    counted_storage,
    make_storage,
    storage_dtype,
    storage_part,
)

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
ALIGNMENT = 64  # where torch lets storages begin in a zip


def read_zip(archive: ZipArchive, left_out: dict[str, None]) -> Any:
    """The object in a zip .pth: dicts, lists and numbers, tensors as arrays, placeholders for all else.

    Args:
      archive: the file.
      left_out: gets the names of what the placeholders stand for.

    Raises:
      DamagedError: damaged, or something other than weights.
    """
    roots = [name.removesuffix("data.pkl") for name in archive.names() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise OtherFileError(f"a zip archive {listing(archive.names())}")
    root = roots[0]
    if f"{root}constants.pkl" in archive.names():
        raise MalformedFileError("it is a TorchScript program, not a state dict")
    big_endian = f"{root}byteorder" in archive.names() and archive.read(f"{root}byteorder") == b"big"
    raws: dict[str, memoryview] = {}

    def persistent_load(identity: Any) -> Any:
        if (unknown := _no_storage(identity)) is not None:
            return unknown
        _, storage_class, key, _, count = _storage_identity(identity, 5)
        dtype = storage_dtype(storage_class)
        if key not in raws:
            raws[key] = archive.read(f"{root}data/{key}")
        if len(raws[key]) != count * dtype.itemsize:
            raise MalformedFileError("it has a storage of another size than it says")
        return make_storage(raws[key], dtype, big_endian)

    pickle = archive.read(f"{root}data.pkl")
    return pickles.load(pickle, 0, TensorBuilder().known(), persistent_load, left_out)[0]


def read_legacy(data: bytes, left_out: dict[str, None]) -> Any:
    """The object in a legacy .pth, as `read_zip`.

    Raises:
      DamagedError: damaged, or something other than weights.
    """
    known = TensorBuilder().known()
    magic, position = pickles.load(data, 0, known)
    if magic != LEGACY_MAGIC:
        raise MalformedFileError("it is a pickle, but none that PyTorch wrote")
    protocol, position = pickles.load(data, position, known)
    if protocol != LEGACY_PROTOCOL:
        raise MalformedFileError("it is a .pth file of an unknown version")
    _, start = pickles.load(data, position, known)  # the machine it was written on

    # The storages lie behind the pickle that needs them, so it is read twice: first for its length.
    announced: dict[str, tuple[np.dtype, Any]] = {}

    def announce(identity: Any) -> Any:
        if (unknown := _no_storage(identity)) is not None:
            return unknown
        _, storage_class, key, _, count, _ = _storage_identity(identity, 6)
        announced[key] = storage_dtype(storage_class), count
        return None

    blind = known | {name: _nothing for name in known if name.startswith("torch._utils.")}
    _, position = pickles.load(data, start, blind, announce)
    keys, position = pickles.load(data, position, known)
    storages: dict[str, np.ndarray] = {}
    for key in keys:
        dtype, count = announced[key]
        storages[key], position = counted_storage(data, position, dtype)
        if storages[key].size != count:
            raise MalformedFileError("it has a storage of another size than it says")

    def persistent_load(identity: Any) -> Any:
        if (unknown := _no_storage(identity)) is not None:
            return unknown
        _, storage_class, key, _, _, part = _storage_identity(identity, 6)
        storage = storages[key]
        if storage_class != storage.dtype:
            raise MalformedFileError("it has a storage of two types")
        return storage if part is None else storage_part(storage, *part[1:])

    return pickles.load(data, start, known, persistent_load, left_out)[0]


def _nothing(*_: Any) -> None:
    return None


def _no_storage(identity: Any) -> Placeholder | None:
    """What stands for something that is kept outside of the pickle and is no storage that is known here."""
    if type(identity) is not tuple or len(identity) < 2 or identity[0] not in ("storage", "module"):
        return Placeholder("persistent id", identity)
    # A legacy file names the class of a whole module with its source: ("module", class, file, source).
    return identity[1] if isinstance(identity[1], Placeholder) else None


def _storage_identity(identity: Any, length: int) -> tuple:
    """('storage', class, key, location, count[, part]), checked as far as its users rely on it."""
    if type(identity) is not tuple or len(identity) != length or identity[0] != "storage":
        raise MalformedFileError("it refers to something other than a storage")
    if type(identity[2]) is not str or type(identity[4]) is not int:
        raise MalformedFileError("its pickle is damaged")
    return identity


def read_tar(data: bytes, left_out: dict[str, None]) -> Any:
    """The object in a tar .pth, as `read_zip`.

    Raises:
      DamagedError: damaged, or something other than weights.
    """
    members = tar_members(data)
    parts = ("storages", "tensors", "pickle")
    if not members.keys() & parts:
        raise OtherFileError(f"a tar archive {listing(list(members))}")
    for name in parts:
        if name not in members:
            raise MalformedFileError(f"it is a tar archive without {name}: PyTorch did not write it")
    builder = TensorBuilder()
    known = builder.known()
    objects: dict[int, np.ndarray] = {}

    raw = members["storages"]
    count, position = pickles.load(raw, 0, known)
    for _ in range(count):
        (key, _, storage_class), position = pickles.load(raw, position, known)
        objects[key], position = counted_storage(raw, position, storage_dtype(storage_class))
    parts, position = pickles.load(raw, position, known)
    for key, root, offset, size in parts:
        objects[key] = storage_part(objects[root], offset, size)

    raw = members["tensors"]
    count, position = pickles.load(raw, 0, known)
    for _ in range(count):
        (key, storage, _), position = pickles.load(raw, position, known)
        (dimensions,) = struct.unpack_from("<i", raw, position)  # and four bytes that mean nothing
        if not 0 <= dimensions <= MAX_DIMENSIONS:
            raise MalformedFileError("it has a tensor of impossible size")
        numbers = struct.unpack_from(f"<{2 * dimensions + 1}q", raw, position + 8)
        position += 8 + 8 * len(numbers)
        objects[key] = builder.build(
            objects[storage], numbers[-1], numbers[:dimensions], numbers[dimensions:-1]
        )

    return pickles.load(members["pickle"], 0, known, lambda identity: objects[int(identity)], left_out)[0]


def write_zip(path: Path, tree: dict[str, Any]) -> None:
    """Writes nested dicts of arrays as a zip .pth that `torch.load(weights_only=True)` reads.

    The same arrays give the same bytes, whenever they are written.

    Raises:
      ValueError: an array has a dtype that torch lacks.
    """
    storages: list[np.ndarray] = []
    pickle = b"\x80\x02" + _pickle_dict(tree, storages) + b"."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:

        def write(name: str, raw: bytes) -> None:
            entry = zipfile.ZipInfo(f"archive/{name}")
            # Fill up with an extra field that means nothing, so that the bytes begin at a multiple of 64.
            padding = -(archive.fp.tell() + 30 + len(entry.filename) + 4) % ALIGNMENT  # type: ignore[union-attr]
            entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            archive.writestr(entry, raw)

        write("data.pkl", pickle)
        write("byteorder", b"little")
        for key, array in enumerate(storages):
            # Little-endian whatever the machine; bfloat16 has no such thing as `newbyteorder`.
            bits = array.reshape(-1).view(f"u{array.itemsize}")
            write(f"data/{key}", bits.astype(bits.dtype.newbyteorder("<"), copy=False).tobytes())
        write("version", b"3\n")


def _pickle_dict(tree: dict[str, Any], storages: list[np.ndarray]) -> bytes:
    """OrderedDict() filled with the items; arrays are appended to `storages`."""
    parts = [b"ccollections\nOrderedDict\n)R("]
    for name, value in tree.items():
        parts.append(_pickle_text(name))
        if isinstance(value, dict):
            parts.append(_pickle_dict(value, storages))
        else:
            parts.append(_pickle_tensor(value, str(len(storages))))
            # Not `ascontiguousarray`, which turns a scalar into a vector.
            storages.append(np.asarray(value, order="C"))
    return b"".join([*parts, b"u"])


def _pickle_tensor(array: np.ndarray, key: str) -> bytes:
    """_rebuild_tensor_v2(('storage', class, key, 'cpu', count), 0, shape, strides, False, OrderedDict())."""
    classes = {dtype: name for name, dtype in STORAGES.items()}
    if array.dtype not in classes:
        raise ValueError(f"PyTorch has no tensors of {array.dtype}")
    strides = [int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim)]
    storage = b"".join(
        [
            b"(" + _pickle_text("storage"),
            f"ctorch\n{classes[array.dtype]}\n".encode(),
            _pickle_text(key) + _pickle_text("cpu") + _pickle_int(array.size) + b"tQ",
        ]
    )
    shapes = b"".join(b"(" + b"".join(map(_pickle_int, sizes)) + b"t" for sizes in (array.shape, strides))
    hooks = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _pickle_int(0) + shapes + b"\x89" + hooks + b"tR"
    )


def _pickle_text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _pickle_int(number: int) -> bytes:
    if number < 2**31:
        return b"J" + struct.pack("<i", number)
    return b"\x8a\x08" + struct.pack("<q", number)
