"""Published weights by name: downloaded once, verified, kept in the user's cache.

Nothing here belongs to this project: each file has its own licence, and so have the pictures it was trained on.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from esrgan_jax.errors import ConfigError, WeightFileError
from esrgan_jax.system.download import ChecksumError, DownloadError, download, file_size
from esrgan_jax.system.files import cache_dir, cache_problem


@dataclass(frozen=True)
class ZooFile:
    """A published file.

    Attributes:
      address: its URL.
      size: in bytes.
      sha256: its checksum, as published or as several independent projects state it.
      licence: of the repository that publishes it.
      about: what it is for.
      network: its name in weights/architectures.
      scale: how many times it enlarges; None: it does not.
      noisy: the name of the same network trained to keep noise, which can be mixed with this one.
    """

    address: str
    size: int
    sha256: str
    licence: str
    about: str
    network: str
    scale: int | None = None
    noisy: str | None = None

    @property
    def path(self) -> Path:
        """Where the downloaded file is, or will be."""
        return cache_dir() / "weights" / self.address.rsplit("/", 1)[-1]

    @property
    def is_cached(self) -> bool:
        """Whether it was downloaded before."""
        return file_size(self.path) == self.size


_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_ESRGAN = "https://huggingface.co/databuzzword/esrgan/resolve/bc7c483933e234850fe76a1578935cf8603ff51b"

ZOO = {
    "RRDB_ESRGAN_x4": ZooFile(
        f"{_ESRGAN}/RRDB_ESRGAN_x4.pth",
        66_929_193,
        "65fece06e1ccb48853242aa972bdf00ad07a7dd8938d2dcbdf4221b59f6372ce",
        "Apache-2.0 (github.com/xinntao/ESRGAN)",
        "the paper's ESRGAN, trained with a GAN",
        "RRDBNet",
        4,
    ),
    "RRDB_PSNR_x4": ZooFile(
        f"{_ESRGAN}/RRDB_PSNR_x4.pth",
        66_929_193,
        "f372b59f22929e1bc83fa58d78215c96f976de3b2eaeee736da1b348913da6cc",
        "Apache-2.0 (github.com/xinntao/ESRGAN)",
        "the paper's network before the GAN: highest PSNR",
        "RRDBNet",
        4,
    ),
    "RealESRGAN_x4plus": ZooFile(
        f"{_REAL_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth",
        67_040_989,
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "Real-ESRGAN for photographs of unknown quality",
        "RRDBNet",
        4,
    ),
    "RealESRGAN_x2plus": ZooFile(
        f"{_REAL_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth",
        67_061_725,
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "Real-ESRGAN for photographs of unknown quality, twice as large",
        "RRDBNet",
        2,
    ),
    "RealESRGAN_x4plus_anime_6B": ZooFile(
        f"{_REAL_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
        17_938_799,
        "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "Real-ESRGAN for drawings: 6 blocks, four times as fast",
        "RRDBNet",
        4,
    ),
    "realesr-general-x4v3": ZooFile(
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-x4v3.pth",
        4_885_111,
        "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "Real-ESRGAN for photographs, small and fast; upscale --denoise",
        "SRVGGNetCompact",
        4,
        "realesr-general-wdn-x4v3",
    ),
    "realesr-general-wdn-x4v3": ZooFile(
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-wdn-x4v3.pth",
        4_885_111,
        "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "the same, keeps noise: the other end of --denoise",
        "SRVGGNetCompact",
        4,
    ),
    "realesr-animevideov3": ZooFile(
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-animevideov3.pth",
        2_504_012,
        "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        "BSD-3-Clause (github.com/xinntao/Real-ESRGAN)",
        "Real-ESRGAN for frames of drawn films, the smallest and fastest",
        "SRVGGNetCompact",
        4,
    ),
    "vgg19": ZooFile(
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        574_673_361,
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        "BSD-3-Clause (github.com/pytorch/vision)",
        "torchvision's VGG19 (ImageNet), for the perceptual loss",
        "vgg19",
    ),
}


def noisy_partner(path_or_name: str | os.PathLike[str], denoise: float) -> str | os.PathLike[str]:
    """Return the network that a published one is mixed with to keep some noise: the file beside it, or a name of ZOO.

    Args:
      path_or_name: of the published network; of a file the name counts.
      denoise: its share, 0 to 1.

    Raises:
      ConfigError: the share is another number, or there is no such partner.
    """
    if not 0 <= denoise <= 1:
        raise ConfigError(f"denoise (={denoise:g}) must be 0 to 1.")
    path = Path(path_or_name)
    file = ZOO.get(path.stem)
    if file is None or file.noisy is None:
        names = " or ".join(name for name, other in ZOO.items() if other.noisy)
        raise ConfigError(
            f"denoise (={denoise:g}) is for {names} alone, which was published with a partner that keeps noise: "
            f"leave it out for {path_or_name}."
        )
    beside = path.with_name(ZOO[file.noisy].path.name)
    return beside if path.exists() and beside.exists() else file.noisy


def fetch_weights(name: str) -> Path:
    """Return the path of a published file, after downloading it if it is missing.

    An interrupted download resumes, in this call or a later one. The file appears under its name only when it is
    complete and its checksum is right.

    Args:
      name: one of ZOO.

    Raises:
      WeightFileError: it cannot be downloaded, or the file is another one; names the address, and where to save the
        file by hand.
    """
    file = ZOO[name]
    if file.is_cached:
        return file.path
    if problem := cache_problem():
        raise WeightFileError(
            f"{name} cannot be kept: {problem}. Set the environment variable ESRGAN_JAX_HOME to a folder with "
            f"{file.size / 1e6:.0f} MB of free space, or download {file.address} by other means and give its path."
        )
    by_hand = f"download {file.address} by other means and save it as {file.path}"
    print(f"download  {name}, {file.size / 1e6:.0f} MB, {file.licence}", file=sys.stderr)
    try:
        download(file.address, file.path, name=name, size=file.size, checksum=file.sha256)
    except ChecksumError as error:
        raise WeightFileError(
            f"The file at {file.address} is not {name}: {error}. Try again, or {by_hand}."
        ) from None
    except DownloadError as error:
        raise WeightFileError(f"{name} cannot be downloaded ({error}). Try again, or {by_hand}.") from None
    return file.path
