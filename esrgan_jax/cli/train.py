"""Train on a folder of photos, or with a configuration.

A folder is all it takes (docs/own_photos.md); --config is for experiments, those of configs/ or your own. Run again,
the same command resumes from the newest checkpoint.

  esrgan-jax train photos --hours 2
  esrgan-jax train photos --from RealESRGAN_x4plus --hours 8 --workdir runs/finer
  esrgan-jax train --config quickstart --config.seed=1
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esrgan_jax.errors import ConfigError, UserError
from esrgan_jax.system import surroundings
from esrgan_jax.system.files import user_path

if TYPE_CHECKING:
    from ml_collections import ConfigDict

TRAIN_PY_HELP = """Train ESRGAN with a configuration.

usage: python train.py --config FILE[:STAGE,PRESET] [--config.FIELD=VALUE ...] [--workdir FOLDER]

  --config FILE         a name of configs/ (quickstart, x4, x2), or a file of your own
           FILE:gan     one stage alone, psnr or gan
           FILE:paper   another recipe: basicsr, paper or mmagic; both at once is FILE:gan,paper
  --config.FIELD=VALUE  sets a field, as --config.psnr.batch_size=8; configs/base.py explains them all
  --workdir FOLDER      where everything is written; runs/<name of the configuration> by default

Run again, the same command resumes from the newest checkpoint. A first run:

  python train.py --config quickstart
"""


def main() -> int:
    """Train as the command line of `python train.py` says; return the exit code."""
    surroundings.settle()
    if {"-h", "--help"} & set(sys.argv):
        print(TRAIN_PY_HELP.strip())
        return 0
    try:
        with surroundings.switches_named():
            return _train(*parse(sys.argv))
    except UserError as error:
        surroundings.say_error(f"train.py: {error}")
        return error.exit_code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `esrgan-jax train`; unknown ones, --config.FIELD=VALUE, are in `args.fields`."""
    parser.usage = (
        "%(prog)s FOLDER [--from MODEL] [--hours H] [--scale S] [--validation FOLDER] [--workdir FOLDER] "
        "[--config.FIELD=VALUE ...]\n       %(prog)s --config FILE[:STAGE,PRESET] [--workdir FOLDER] "
        "[--config.FIELD=VALUE ...]"
    )
    parser.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="photos to train on, and to hold some of out"
    )
    parser.add_argument(
        "--from", dest="model", metavar="MODEL", help="fine-tune a file, run folder or model name"
    )
    parser.add_argument("--hours", type=float, metavar="H", help="time for all of it (default: 2)")
    parser.add_argument("--scale", type=int, metavar="S", help="times larger (default: 4, or MODEL's)")
    parser.add_argument("--validation", metavar="FOLDER", help="hold these photos out instead")
    parser.add_argument("--config", metavar="FILE", help="an experiment instead of FOLDER: a name or a file")
    parser.add_argument(
        "--workdir", metavar="FOLDER", help="where everything is written (default: runs/NAME)"
    )


def run(args: argparse.Namespace) -> int:
    """Run `esrgan-jax train`."""
    if args.config is not None:
        return _train(*parse(["esrgan-jax train", *args.words]))
    if args.folder is None:
        raise ConfigError(
            "Give a folder of photos, or an experiment with --config: see `esrgan-jax train --help`."
        )
    from esrgan_jax.training.config_files import FOLDER

    config, _ = parse(["esrgan-jax train", f"--config={FOLDER / 'own_photos.py'}", *args.fields])
    folder = user_path(args.folder)
    workdir = Path(args.workdir or Path("runs") / folder.resolve().name)
    chosen = {match[1] for word in args.fields if (match := re.match(r"--?(?:no)?config\.([\w.]+)", word))}
    return _train(config, workdir, functools.partial(_plan, args, folder, chosen))


def _plan(
    args: argparse.Namespace, folder: Path, chosen: set[str], config: ConfigDict, workdir: Path
) -> None:
    """Complete the configuration of a folder of photos, and print the plan."""
    from esrgan_jax.runs.lock import check_free
    from esrgan_jax.system.progress import clock
    from esrgan_jax.training.own_photos import plan

    check_free(workdir)
    _tell(f"plan      reading the pictures of {folder} and timing a few iterations ...")
    given = {"model": args.model, "hours": args.hours, "scale": args.scale}
    validation = None if args.validation is None else user_path(args.validation)
    with clock("plan      the first iteration compiles"):
        lines = plan(config, folder, workdir, chosen=chosen, validation=validation, **given)
    _tell(*lines)


def _tell(*lines: str) -> None:
    """Print lines on stdout; nothing if it cannot be written, as in training."""
    with contextlib.suppress(OSError):
        print(*map(surroundings.printable, lines), sep="\n", flush=True)


def _train(
    config: ConfigDict, workdir: str | Path, prepare: Callable[[ConfigDict, Any], None] | None = None
) -> int:
    """Train, after `prepare`; return the exit code."""
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        # Ctrl-C while modules load ends the process at once: inside of them it prints tracebacks, or gets lost.
        if interrupt is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if prepare is not None:
            prepare(config, workdir)
        from esrgan_jax.training.stopping import Stopped
        from esrgan_jax.training.train import train

        try:
            train(config, workdir)
        except Stopped as stopped:
            return stopped.exit_code
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return 0


def parse(argv: Sequence[str]) -> tuple[ConfigDict, str]:
    """Return configuration and workdir, from the words of a command line (the first is the program's name).

    Raises:
      ConfigError: the flags are wrong, or the configuration file cannot be loaded.
    """
    from absl import flags
    from ml_collections import config_flags

    from esrgan_jax.training.config_files import others_importable

    argv, path = _find_config(argv)
    values = flags.FlagValues()  # our own flags alone, not those of every library
    config = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=list(argv))
    workdir = flags.DEFINE_string("workdir", None, "folder of the run", flag_values=values)
    try:
        with others_importable(path) if path else contextlib.nullcontext():
            rest = values(argv)
        if rest[1:]:
            raise ConfigError(f"{rest[1]} is no flag of this command: see --help.")
        if config.value is None:
            raise ConfigError("--config is missing: try --config quickstart.")
        folder = str(Path("runs") / config.value.name) if workdir.value is None else workdir.value
        return config.value, folder
    except UserError:
        raise
    except Exception as error:  # a configuration is a program: anything may go wrong in it
        raise ConfigError(_explain(error, " ".join(argv))) from error


def _find_config(argv: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the command line with the path of the configuration file instead of its name, and that path."""
    from esrgan_jax.training.config_files import FOLDER, find_config

    words, path = list(argv), None
    for i, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag in ("--config", "-config"):
            at = i if "=" in word else i + 1
            name, colon, argument = (value if at == i else "".join(words[at : at + 1])).partition(":")
            if not name.strip():
                raise ConfigError("--config is empty: try --config quickstart.")
            known = (FOLDER / f"{name}.py").is_file()
            if known or not Path(name).is_dir():  # which the parser refuses
                path = find_config(name)
                words[at] = f"{flag}={path}{colon}{argument}" if at == i else f"{path}{colon}{argument}"
    return words, path


def _explain(error: Exception, command: str) -> str:
    """One sentence of what absl and ml_collections say in many lines, the last of which has the reason."""
    from absl import flags

    unknown_field = None
    if "ml_collections" in traceback.extract_tb(error.__traceback__)[-1].filename:
        unknown_field = next((e for e in (error, *error.args) if isinstance(e, KeyError)), None)
    lines = str(unknown_field.args[0] if unknown_field else error).strip().splitlines() or [""]
    first, last = lines[0], lines[-1].rpartition("failure to load: ")[2].strip()
    more = f" {last}" if len(lines) > 1 else ""  # a guess at the right name, or the end of a traceback
    if unknown_field:
        return f"Unknown field {first.partition('. Other')[0]}.{more}"
    if isinstance(error, flags.Error):
        return first + more
    file = re.search(r"-config[= ](\S*)", command)
    return f"The configuration {file[1] if file else ''} cannot be loaded ({type(error).__name__}: {last})."
