"""Official weights by name: fetched once, verified, kept in the user's cache.

Nothing here belongs to this project: each file has its own licence, and all were trained on pictures with
terms of their own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from esrgan_jax.errors import WeightFileError
from esrgan_jax.system.download import ChecksumError, DownloadError, download, file_size
from esrgan_jax.system.files import cache_dir


@dataclass(frozen=True)
class ZooFile:
    """A file somewhere on the web.

    Attributes:
      address: where it is.
      size: in bytes.
      sha256: its checksum, as published or as several independent projects state it.
      licence: of the repository that publishes it.
      about: what it is.
    """

    address: str
    size: int
    sha256: str
    licence: str
    about: str

    @property
    def path(self) -> Path:
        """Where it is kept, whether it is there or not."""
        return cache_dir() / "weights" / self.address.rsplit("/", 1)[-1]


_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_ESRGAN = "https://huggingface.co/databuzzword/esrgan/resolve/bc7c483933e234850fe76a1578935cf8603ff51b"

ZOO = {
    "RRDB_ESRGAN_x4": ZooFile(
        f"{_ESRGAN}/RRDB_ESRGAN_x4.pth",
        66_929_193,
        "65fece06e1ccb48853242aa972bdf00ad07a7dd8938d2dcbdf4221b59f6372ce",
        "Apache-2.0 (github.com/xinntao/ESRGAN)",
        "the paper's ESRGAN, trained with a GAN",
    ),
    "RRDB_PSNR_x4": ZooFile(
        f"{_ESRGAN}/RRDB_PSNR_x4.pth",
        66_929_193,
        "f372b59f22929e1bc83fa58d78215c96f976de3b2eaeee736da1b348913da6cc",
        "Apache-2.0 (github.com/xinntao/ESRGAN)",
        "the paper's network before the GAN: highest PSNR",
    ),
    "RealESRGAN_x4plus": ZooFile(
        f"{_REAL_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth",
        67_040_989,
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "Real-ESRGAN for photographs of unknown quality",
    ),
    "RealESRGAN_x2plus": ZooFile(
        f"{_REAL_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth",
        67_061_725,
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "the same, twice as large",
    ),
    "RealESRGAN_x4plus_anime_6B": ZooFile(
        f"{_REAL_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
        17_938_799,
        "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "Real-ESRGAN for drawings: 6 blocks, four times as fast",
    ),
    "vgg19": ZooFile(
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        574_673_361,
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        "BSD-3-Clause (github.com/pytorch/vision)",
        "torchvision's VGG19 (ImageNet), for the perceptual loss",
    ),
}


def fetch_weights(name: str) -> Path:
    """The path of a zoo file, downloaded first where it is not there yet.

    A download that is cut off is taken up where it stopped, now or in a later call. The file appears under
    its name only when it is whole and its checksum is right.

    Args:
      name: one of ZOO.

    Raises:
      WeightFileError: it cannot be fetched, or what came is something else; names the address and the place
        where the file can be put by hand.
    """
    file = ZOO[name]
    if file_size(file.path) == file.size:
        return file.path
    by_hand = f"fetch {file.address} by other means and put it at {file.path}"
    print(f"download  {name}, {file.size / 1e6:.0f} MB, {file.licence}", file=sys.stderr)
    try:
        download(file.address, file.path, name=name, size=file.size, checksum=file.sha256)
    except ChecksumError as error:
        raise WeightFileError(
            f"What came from {file.address} is not {name}: {error}; try again, or {by_hand}."
        ) from None
    except DownloadError as error:
        raise WeightFileError(f"{name} cannot be downloaded ({error}): try again, or {by_hand}.") from None
    return file.path
