"""A contact sheet: pairs of pictures with words below, to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from jaxtyping import UInt8

COLUMNS = 2
_GAP, _LINE, _FONT_SIZE = 8, 15, 12


class Pair(NamedTuple):
    """One cell of the sheet: LR and HR, uint8 [h, w, 3], and lines of text."""

    lr: np.ndarray
    hr: np.ndarray
    lines: Sequence[str]


def contact_sheet(pairs: Sequence[Pair]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the sheet: each LR picture enlarged by repeating pixels, its HR picture beside it, lines below.

    Args:
      pairs: at least one, all of the same sizes.
    """
    cells = [_cell(pair) for pair in pairs]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
    rows = [np.concatenate(cells[start : start + COLUMNS], axis=1) for start in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows)


def _cell(pair: Pair) -> np.ndarray:
    height, width = pair.hr.shape[:2]
    scale = height // pair.lr.shape[0]
    cell = Image.new("RGB", (2 * width + 3 * _GAP, height + 2 * _GAP + _LINE * len(pair.lines)), "white")
    cell.paste(Image.fromarray(pair.lr.repeat(scale, 0).repeat(scale, 1)), (_GAP, _GAP))
    cell.paste(Image.fromarray(pair.hr), (width + 2 * _GAP, _GAP))
    font, draw = ImageFont.load_default(_FONT_SIZE), ImageDraw.Draw(cell)
    for number, line in enumerate(pair.lines):
        text = _shortened(line, lambda text: font.getlength(text) <= cell.width - 2 * _GAP)
        draw.text((_GAP, height + _GAP + 4 + _LINE * number), text, fill="black", font=font)
    return np.asarray(cell)


def _shortened(text: str, fits: Callable[[str], bool]) -> str:
    while not fits(text):
        text = text.removesuffix(" ...")[:-1] + " ..."
    return text
