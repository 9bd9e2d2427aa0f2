"""Arguments that several commands share: which weights of a model, and how it computes."""

import argparse


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add --key, which of the weights in a model file to use."""
    parser.add_argument(
        "--key", help="weights of the model to use: params or params_ema (default: params_ema if there)"
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
        help="pixels that neighbouring tiles share; exact: the same result as without tiles, several times slower",
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
