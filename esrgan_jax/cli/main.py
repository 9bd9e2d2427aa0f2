"""ESRGAN in JAX: upscale pictures, score networks, prepare data, convert weights."""

import argparse
import errno
import importlib
import os
import re
import sys
import threading
import traceback
from collections.abc import Sequence

import esrgan_jax
from esrgan_jax.cli import options
from esrgan_jax.errors import UserError
from esrgan_jax.system import surroundings
from esrgan_jax.system.exit import exit_now
from esrgan_jax.system.files import is_about_the_name

BROKEN_PIPE = 141  # as in shells: 128 + SIGPIPE
INTERRUPTED = 130  # as in shells: 128 + SIGINT

COMMANDS = (
    "check_data",
    "convert",
    "degrade",
    "doctor",
    "evaluate",
    "inspect",
    "interpolate",
    "models",
    "prepare",
    "train",
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
    if argv is not None:
        return _run(argv)
    trains = sys.argv[1:2] == ["train"]
    try:
        code = _run(sys.argv[1:])
    except Exception:
        if not trains:
            raise
        traceback.print_exc()
        exit_now(1, explain=True)
    left_behind = any(thread.daemon for thread in threading.enumerate())
    if trains or left_behind or code == INTERRUPTED:
        exit_now(code)
    return code


def _run(argv: Sequence[str]) -> int:
    surroundings.settle()
    parser = _build_parser()
    program = parser.prog
    # argparse would take a field whose value has a space for the folder of pictures.
    fields = [word for word in argv[1:] if argv[0] == "train" and re.match(r"--?config\.[^=]+=", word)]
    words = [word for word in argv if word not in fields]
    try:
        try:
            args, unknown = parser.parse_known_args(words)
        finally:
            sys.stdout.flush()  # --help and --version end there
        program += f" {args.command}"
        if args.command == "train":
            # absl reads --config.FIELD=VALUE, and everything where --config names a file.
            args.fields, args.words = [*fields, *unknown], argv[1:]
        elif unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        with surroundings.switches_named():
            code = args.run(args)
        sys.stdout.flush()
        return code
    except UserError as error:
        surroundings.say_error(f"{program}: {error}")
        return error.exit_code
    except BrokenPipeError:  # the reader of the output has ended, as `head` does
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        what = error.filename or ("the output" if _discard_output() else "a file")
        surroundings.say_error(
            f"{program}: {what} cannot be used ({error.strerror or error}): {_way_out(error)}."
        )
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _way_out(error: OSError) -> str:
    if is_about_the_name(error):
        return "check the path"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "check its permissions, or choose another place"
    return "free disk space, or choose another place"


def _discard_output() -> bool:
    """If stdout cannot be written, let what comes next go nowhere; return whether that was so."""
    try:
        print(flush=True)  # the error does not say whose it is
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


class _Version(argparse.Action):
    """Print the version; it is not looked up before."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"{parser.prog} {esrgan_jax.__version__}")
        parser.exit()


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="esrgan-jax",
        description=__doc__,
        epilog="`esrgan-jax COMMAND --help` explains a command.",
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
        options.refuse_empty(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
