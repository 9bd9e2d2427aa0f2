"""Weight files as Python objects: bytes <-> nested dicts of arrays. Nothing in a file is ever executed."""

import io
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from esrgan_jax.errors import WeightFileError
from esrgan_jax.system.files import atomic_write
from esrgan_jax.system.regular_files import NoFileError, read_bytes
from esrgan_jax.weights.formats import pth, safetensors
from esrgan_jax.weights.formats.archives import ZipArchive
from esrgan_jax.weights.formats.errors import MalformedFileError, OtherFileError

SUFFIXES = (".pth", ".safetensors")
"""What `write` can write."""

MAX_NPY_HEADER = 66_000

ORIGINAL = "take the .pth or .safetensors file it was made from"

OTHERS = (
    (b"7z\xbc\xaf'\x1c", "a 7z archive: unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it first"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ\0", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first"),
    (b"\x89HDF\r\n", f"an HDF5 file, as Keras writes them: {ORIGINAL}"),
    (b"7767517\n", f"a network of ncnn: {ORIGINAL}"),
)
"""First bytes of other files that models come in, and what they are."""


@dataclass(frozen=True)
class Contents:
    """What a weight file holds.

    Attributes:
      container: zip .pth, legacy .pth, tar .pth, safetensors or npz.
      tree: usually nested dicts with arrays in them; a .pth can hold anything.
      metadata: a .safetensors file's.
      left_out: names of Python objects in a .pth that are no weights; placeholders stand for them in `tree`.
    """

    container: str
    tree: Any
    metadata: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def read(path: str | os.PathLike) -> Contents:
    """Reads a weight file of any kind, told apart by its first bytes.

    Arrays are read-only views of the file's bytes, which are in memory once. What a file claims can make this
    use at most 100 MB more. The checksums of a zip .pth are verified; the other containers have none.

    Raises:
      WeightFileError: there is no such file, or it is another kind of file, or damaged.
    """
    path = Path(path)
    try:
        data = read_bytes(path)
    except (NoFileError, OSError) as error:
        if path.is_dir():
            raise WeightFileError(f"{path} is a folder: give the path of a weight file.") from None
        reason = error.__cause__ if isinstance(error, NoFileError) else error
        if isinstance(reason, OSError):
            raise WeightFileError(
                f"{path} cannot be read ({reason.strerror}): give the path of a weight file."
            ) from None
        raise WeightFileError(str(error)) from None
    try:
        return _parse(data)
    except OtherFileError as error:
        raise WeightFileError(f"{path} is {error}.") from None
    except MalformedFileError as error:
        raise WeightFileError(
            f"{path} cannot be read: {error}; fetch it again or choose another file."
        ) from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error):
        # A damaged file says one thing where it should say another, in more ways than can be listed.
        raise WeightFileError(f"{path} is damaged: fetch it again or choose another file.") from None


def _parse(data: bytes) -> Contents:
    if safetensors.looks_like(data):  # first: it begins with a length, which may look like anything
        return Contents("safetensors", *safetensors.read(data))
    if data.startswith(b"PK\x03\x04"):
        archive = ZipArchive(data)
        if any(name.endswith(".npy") for name in archive.names()):
            return Contents("npz", _read_npz(archive))
        return _read_pth("zip", pth.read_zip, archive)
    if data[257:262] == b"ustar":
        return _read_pth("tar", pth.read_tar, data)
    if data.startswith(b"\x80"):
        return _read_pth("legacy", pth.read_legacy, data)
    for beginning, kind in OTHERS:
        if data.startswith(beginning):
            raise OtherFileError(kind)
    if _looks_like_onnx(data):
        raise OtherFileError(f"an ONNX model: {ORIGINAL}")
    if data.startswith(b"version https://git-lfs"):
        raise MalformedFileError(
            "it is a Git LFS pointer that stands for the real file (git lfs pull brings it)"
        )
    if data.lstrip()[:1] == b"<":
        raise MalformedFileError("it is a web page, not a weight file")
    raise MalformedFileError("it is empty" if not data else "it is neither a .pth nor a .safetensors file")


def _read_pth(kind: str, read: Callable[[Any, dict[str, None]], Any], source: Any) -> Contents:
    left_out: dict[str, None] = {}
    tree = read(source, left_out)
    return Contents(f"{kind} .pth", tree, left_out=list(left_out))


def _looks_like_onnx(data: bytes) -> bool:
    """Whether it begins as a protobuf with a version number and another field that ONNX models have."""
    return (
        len(data) > 4 and data[0] == 0x08 and 3 <= data[1] < 0x20 and data[2] in b"\x12\x1a\x22\x32\x3a\x42"
    )


def _read_npz(archive: ZipArchive) -> dict[str, np.ndarray]:
    arrays = {}
    for name in archive.names():
        raw = archive.read(name)
        file = io.BytesIO(raw[:MAX_NPY_HEADER])
        if np.lib.format.read_magic(file) != (1, 0):
            raise MalformedFileError("its arrays are of an unknown version")
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
        # numpy's own reader allocates what the header claims before it looks at the data.
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(raw) - file.tell():
            raise MalformedFileError("it has an array of another size than it says")
        flat = np.frombuffer(raw, dtype, offset=file.tell())
        arrays[name.removesuffix(".npy")] = flat.reshape(shape, order="F" if columns_first else "C")
    return arrays


def write(path: str | os.PathLike, tree: dict[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Writes arrays as the container that the suffix of `path` names, whole or not at all.

    Args:
      path: ends in .pth (zip, for torch 1.6 and later) or .safetensors.
      tree: {name: array}; for .pth also dicts of such dicts.
      metadata: what the header of a .safetensors file says besides.

    Raises:
      WeightFileError: another suffix, a dtype that the container lacks, or a folder that cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise WeightFileError(f"{path} cannot be written: its name must end in {' or '.join(SUFFIXES)}.")
    try:
        with atomic_write(path) as temporary:
            if path.suffix == ".pth":
                pth.write_zip(temporary, tree)
            else:
                safetensors.write(temporary, tree, metadata or {})
    except OSError as error:
        raise WeightFileError(f"{path} cannot be written ({error.strerror}): choose another place.") from None
    except ValueError as error:
        raise WeightFileError(f"{path} cannot be written: {error}.") from None
