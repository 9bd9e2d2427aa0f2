"""ESRGAN in JAX: upscale pictures, score networks, prepare data, convert weights."""

import argparse
import importlib
import os
import sys
import threading
from collections.abc import Sequence

import esrgan_jax
from esrgan_jax.errors import UserError

BROKEN_PIPE = 141  # as in shells: 128 + SIGPIPE
INTERRUPTED = 130  # as in shells: 128 + SIGINT

COMMANDS = (
    "check_data",
    "convert",
    "evaluate",
    "inspect",
    "interpolate",
    "models",
    "prepare",
    "upscale",
)
"""Modules beside this one, each with a docstring (its first line is the short help), add_arguments and run.

They import nothing heavy before `run`, so that --help answers at once.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return 0 or the exit code of an error.

    Args:
      argv: without the program's name; None: the arguments of the process. Then the process ends here if JAX still
        works in threads that nobody waits for (after Ctrl-C, or a full disk), which would crash while Python exits.
    """
    code = _run(argv)
    left_behind = any(thread.daemon for thread in threading.enumerate())
    if argv is None and (left_behind or code == INTERRUPTED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _run(argv: Sequence[str] | None) -> int:
    args = _build_parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"esrgan-jax {args.command}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of the output has ended, as `head` does; the rest is discarded
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        what = error.filename or "a file"
        print(
            f"esrgan-jax {args.command}: {what} cannot be used ({error.strerror or error}): free disk space, or "
            "choose another place.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


class _Version(argparse.Action):
    """Print the version; it is not looked up before."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"{parser.prog} {esrgan_jax.__version__}")
        parser.exit()


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="esrgan-jax",
        description=__doc__,
        epilog="esrgan-jax COMMAND --help explains a command. Training: python train.py --help.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"esrgan_jax.cli.{name}")
        text = module.__doc__ or ""
        command = commands.add_parser(
            name.replace("_", "-"),
            help=text.partition("\n")[0].rstrip("."),
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
