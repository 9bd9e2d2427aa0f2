"""Zip and tar archives in memory, as PyTorch and numpy write them: entries are views of their bytes."""

import io
import struct
import zipfile
import zlib

from esrgan_jax.weights.formats.errors import MalformedFileError

MAX_ENTRIES = 100_000
WEIGHT_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


class ZipArchive:
    """A zip archive whose entries are stored as they are, together no larger than it, and of true checksums.

    Args:
      data: the whole archive.

    Raises:
      DamagedError: its directory is damaged.
    """

    def __init__(self, data: bytes):
        self._data = memoryview(data)
        # An entry of 46 bytes becomes an object of 700.
        if data.count(b"PK\x01\x02") > MAX_ENTRIES:
            raise MalformedFileError("its zip directory is absurdly long")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                self._entries = {entry.filename: entry for entry in archive.infolist()}
        except (zipfile.BadZipFile, NotImplementedError, OverflowError, ValueError, struct.error):
            raise MalformedFileError("its zip directory is damaged or cut off") from None
        self._claimed = sum(entry.file_size for entry in self._entries.values())

    def names(self) -> list[str]:
        """The names of the entries. They are looked up and never become paths."""
        return list(self._entries)

    def read(self, name: str) -> memoryview:
        """The bytes of one entry.

        Raises:
          DamagedError: there is none, or it is compressed, encrypted or damaged, or all entries together are larger.
        """
        if self._claimed > len(self._data):
            raise MalformedFileError("its zip entries claim to be larger than the file, as in a zip bomb")
        entry = self._entries.get(name)
        if entry is None:
            raise MalformedFileError(f"its zip archive lacks {name[:80]!a}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise MalformedFileError("its zip archive is compressed or encrypted, which PyTorch's never is")
        start = max(entry.header_offset, 0)
        header = self._data[start : start + 30]
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise MalformedFileError("its zip archive is damaged")
        start += 30 + sum(struct.unpack("<HH", header[26:]))
        raw = self._data[start : start + entry.file_size]
        if len(raw) != entry.file_size or zlib.crc32(raw) != entry.CRC:
            raise MalformedFileError(f"the checksum of {name[:80]!a} is wrong")
        return raw


def listing(names: list[str]) -> str:
    """Say what is in an archive that PyTorch did not write: its weight files if it has some."""
    inside = [name for name in names if name.endswith(WEIGHT_SUFFIXES)]
    shown = [ascii(name[:80])[1:-1] for name in (inside or names)[:3]]
    more = len(inside or names) - len(shown)
    text = f"with {', '.join(shown)}{f' and {more} more' * (more > 0)} in it" if names else "that is empty"
    return (
        f"{text}: unpack it first" if inside else f"{text}, which PyTorch did not write: choose another file"
    )


def tar_members(data: bytes) -> dict[str, memoryview]:
    """The members of a tar archive by name.

    Raises:
      DamagedError: it is damaged.
    """
    members: dict[str, memoryview] = {}
    position = 0
    while position + 512 <= len(data) and data[position]:
        name = data[position : position + 100].rstrip(b"\0").decode("ascii", "replace")
        digits = data[position + 124 : position + 136].strip(b"\0 ") or b"0"
        size = int(digits, 8) if digits.isdigit() else -1
        start = position + 512
        if not 0 <= size <= len(data) - start:
            raise MalformedFileError("it is a damaged tar archive")
        members[name] = memoryview(data)[start : start + size]
        position = start + -(-size // 512) * 512
    return members
