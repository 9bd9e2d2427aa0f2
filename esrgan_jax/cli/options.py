"""Arguments that several commands share: which weights of a model, how it computes; what holds for all arguments."""

import argparse
from collections.abc import Callable
from typing import Any


def refuse_empty(parser: argparse.ArgumentParser) -> None:
    """Let no argument be empty or blank, unless that is its default: an empty path would be the working directory."""
    for action in parser._actions:
        if action.nargs != 0 and action.default != "":
            action.type = _not_empty(action.type or str)


def _not_empty(convert: Callable[[str], Any] | Any) -> Callable[[str], Any]:
    def converted(text: str) -> Any:
        if not text.strip():
            raise argparse.ArgumentTypeError("it is empty: give it a value, or leave it out")
        return convert(text)

    converted.__name__ = getattr(convert, "__name__", "")  # in argparse's message: "invalid int value"
    return converted


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add --key, which of the weights in a model file to use."""
    parser.add_argument(
        "--key",
        help="network in the file to use: params, params_ema, or the key or prefix that it lies under (default: the "
        "moving average of the generator, if there)",
    )


def add_computation(parser: argparse._ActionsContainer, default_dtype: str | None = None) -> None:
    """Add --tile, --overlap and --dtype.

    Args:
      parser: a parser, or a group of one.
      default_dtype: dtype of the computation; None: chosen by the device.
    """
    parser.add_argument(
        "--tile", type=int, metavar="N", help="tile side in pixels (default: chosen from free memory)"
    )
    parser.add_argument(
        "--overlap",
        type=_overlap,
        metavar="N|exact",
        help="pixels that neighbouring tiles share; exact: the same result as without tiles, for large networks "
        "several times slower (default: exact for networks that do not see far, else 112)",
    )
    by_device = "bfloat16 on GPU and TPU, float32 on CPU"
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default=default_dtype,
        help=f"dtype of the computation (default: {default_dtype or by_device})",
    )


def _overlap(text: str) -> int | str:
    return text if text == "exact" else int(text)


_overlap.__name__ = "overlap"  # the name in argparse's message: "invalid overlap value"
