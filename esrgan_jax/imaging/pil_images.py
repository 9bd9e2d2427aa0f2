"""Conversions between Pillow's images and Picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from esrgan_jax.imaging.metadata import Metadata
from esrgan_jax.imaging.picture import Picture
from esrgan_jax.imaging.read_picture import decode_8_bits, key_alpha

_EXIF_HEAD = b"Exif\0\0"


def from_pil(image: Image.Image) -> Picture:
    """Return a PIL image as a Picture, with its colour profile, EXIF, XMP and resolution.

    Modes 1, L and I;16 (16 bits) are grey; LA, RGB and RGBA stay; premultiplied alpha (La, RGBa) is undone.
    Palettes (P, PA) become RGB or RGBA, CMYK and LAB sRGB, other modes RGB. A transparent colour becomes alpha.
    The pixels stay as they lie: `PIL.ImageOps.exif_transpose` carries out the EXIF orientation.

    Raises:
      ValueError: mode I or F, whose range is not known.
    """
    if image.mode in ("I", "F"):
        raise ValueError(
            f"the PIL image has mode {image.mode}, whose range is not known. Convert it to L, I;16 or RGB."
        )
    notes: tuple[str, ...] = ()
    if image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16)  # of the machine's byte order
        alpha = key_alpha(pixels, image.info.get("transparency"), 65535)
    else:
        if image.mode in ("La", "RGBa"):
            image = image.convert(image.mode.upper())
        pixels, alpha, notes = decode_8_bits(image, depth=8)
    icc = None if image.mode in ("CMYK", "LAB") else image.info.get("icc_profile")
    if icc is not None and icc[16:20] != {2: b"GRAY", 3: b"RGB "}[pixels.ndim]:
        icc = None
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    metadata = Metadata(
        icc=icc,
        exif=exif.removeprefix(_EXIF_HEAD) if exif else None,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=image.info.get("dpi"),
    )
    return Picture(pixels, alpha, metadata, notes)


def to_pil(picture: Picture) -> Image.Image:
    """Return a Picture as a PIL image of mode L, LA, RGB or RGBA, or I;16 for grey of 16 bits without alpha.

    Other pictures of 16 bits are rounded to 8: Pillow has no mode for them. Colour profile, EXIF, XMP and
    resolution are in `info`.
    """
    if picture.alpha is not None or picture.pixels.ndim == 3:
        picture = picture.with_8_bits()
    samples = picture.samples()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    metadata = picture.metadata
    exif = _EXIF_HEAD + metadata.exif if metadata.exif else None
    info = {"icc_profile": metadata.icc, "exif": exif, "xmp": metadata.xmp, "dpi": metadata.dpi}
    image.info.update({name: value for name, value in info.items() if value})
    return image
