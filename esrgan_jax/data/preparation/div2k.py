"""The published zip files of DIV2K: download, checksums, contents."""

from __future__ import annotations

import re
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from esrgan_jax.data.preparation.originals import Original, ZipMember
from esrgan_jax.errors import ConfigError, DataError
from esrgan_jax.system.download import ChecksumError, DownloadError, download, sha256

SCALES = (2, 3, 4, 8)  # of the published bicubic LR images
LARGEST_MEMBER = 1 << 28
"""Bytes of a picture once it is unpacked; those of DIV2K have 10 MB at most."""
SPLITS = {"train": "train", "valid": "validation"}  # DIV2K's name: TFDS's name


@dataclass(frozen=True)
class ZipFile:
    """One of the published zip files.

    Attributes:
      file: its name.
      address: where it is published.
      size: in bytes.
      checksum: its sha256.
    """

    file: str
    address: str
    size: int
    checksum: str


def zip_files(scale: int, *, with_lr: bool) -> dict[str, ZipFile]:
    """Return the zip files by "train_hr", "valid_hr", "train_lr" and "valid_lr", the last two for `scale`.

    Addresses, sizes and checksums are those that TFDS has registered for its `div2k/bicubic_x{scale}`.

    Raises:
      ConfigError: no LR images are published for the scale.
    """
    import tensorflow_datasets as tfds

    if with_lr and scale not in SCALES:
        raise ConfigError(
            f"DIV2K's LR images are published for --scale {', '.join(map(str, SCALES))}, not {scale}: choose one of "
            "these, or have LR images made with --lr bicubic."
        )
    stock = tfds.builder_cls("div2k")
    name = f"bicubic_x{scale if with_lr else SCALES[0]}"
    [config] = [config for config in stock.BUILDER_CONFIGS if config.name == name]
    found = {}
    for key, address in config.download_urls.items():
        kind = key.removesuffix("_url")
        if with_lr or not kind.endswith("_lr"):
            info = stock.url_infos[address]
            found[kind] = ZipFile(address.rsplit("/", 1)[-1], address, int(info.size), info.checksum)
    return found


def fetch_zip(file: ZipFile, folder: Path, *, mirror: str | None = None, any_checksum: bool = False) -> Path:
    """Return the path of a zip file in `folder`, after fetching it if it is not there.

    TFDS's download manager is not used: it restarts an interrupted file from the beginning.

    Args:
      file: one of `zip_files`.
      folder: where zip files are kept; one that exists is checked and used.
      mirror: address of a folder with the files, instead of the published one.
      any_checksum: accept a file that is not the published one.

    Raises:
      DataError: it cannot be fetched, or is not the published file.
      ConfigError: `mirror` is no address.
    """
    path = folder / file.file
    checksum = None if any_checksum else file.checksum
    if path.is_file():
        if checksum is not None:
            print(f"check     {path}, {file.size / 1e6:.0f} MB", file=sys.stderr)
            if path.stat().st_size != file.size or sha256(path) != checksum:
                raise DataError(
                    f"{path} is not the {file.file} that is published: remove it to fetch it again, or use it as "
                    "it is with --any-checksum."
                )
        return path
    address = file.address if mirror is None else f"{mirror.rstrip('/')}/{file.file}"
    if not re.match(r"(https?|file)://.", address):
        raise ConfigError(f"--mirror {mirror} is not an address such as http://example.org/DIV2K.")
    size = None if any_checksum else file.size
    by_hand = f"fetch {file.file} by other means and put it into {folder}"
    print(f"download  {address}" + (f", {size / 1e6:.0f} MB" if size else ""), file=sys.stderr)
    try:
        download(address, path, name=file.file, size=size, checksum=checksum, at_most=2 * file.size)
    except ChecksumError as error:
        raise DataError(
            f"{address} is not the {file.file} that is published ({error}): try again, {by_hand}, or accept any file "
            "with --any-checksum."
        ) from None
    except DownloadError as error:
        raise DataError(f"{address} cannot be downloaded ({error}): try again, or {by_hand}.") from None
    return path


def zip_originals(hr: Path, lr: Path | None, scale: int) -> list[Original]:
    """Return the pictures of a split: 0001.png of the HR zip with 0001x4.png (for scale 4) of the LR zip.

    Their folders do not matter. In the published files they are DIV2K_train_HR and DIV2K_train_LR_bicubic/X4.

    Raises:
      DataError: a file is no zip file, or has no such pictures.
    """
    hr_members = _members(hr, r"(\d{4})\.png")
    lr_members = {} if lr is None else _members(lr, rf"(\d{{4}})x{scale}\.png")
    if not hr_members:
        raise DataError(f"{hr} holds no picture named like 0001.png: it is not one of DIV2K's HR zip files.")
    if lr is not None and not lr_members:
        raise DataError(
            f"{lr} holds no picture named like 0001x{scale}.png: it is not one of DIV2K's LR zip files for "
            f"--scale {scale}."
        )
    originals = []
    for number, member in sorted(hr_members.items()):
        partner: ZipMember | str | None = None
        if lr is not None:
            partner = lr_members.get(number) or f"{member.name} has no LR image {number}x{scale}.png in {lr}."
        originals.append(Original(member, partner))
    return originals


def _members(path: Path, pattern: str) -> dict[str, ZipMember]:
    """Return the members whose name, without folders, matches `pattern`, by its first group."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, struct.error) as error:
        raise DataError(
            f"{path} is incomplete or no zip file ({error}): remove it to fetch it again."
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}): check the path.") from error
    found = {}
    for member in archive.infolist():
        match = re.fullmatch(pattern, PurePosixPath(member.filename).name)
        if match and not member.is_dir():
            _check_member(path, member)
            found[match[1]] = ZipMember(archive, member)
    return found


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    """Check that a member may be unpacked: it is as large as a picture, no password is needed, and it is deflated."""
    if member.file_size > LARGEST_MEMBER:
        raise DataError(
            f"{path} holds {member.filename}, which has {member.file_size / 1e9:.1f} GB once it is unpacked: no "
            "picture of DIV2K is that large. Fetch the published file."
        )
    if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path} holds {member.filename} encrypted or packed in an unusual way: fetch the published file, or "
            "pack it again as a plain zip file."
        )
