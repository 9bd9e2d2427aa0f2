"""Train ESRGAN.

usage: python train.py --config FILE[:STAGE,PRESET] [--config.FIELD=VALUE ...] [--workdir FOLDER]

  --config FILE         a name of configs/ (quickstart, x4, x2), or a file of your own
           FILE:gan     one stage alone, psnr or gan
           FILE:paper   another recipe: basicsr, paper or mmagic; both at once is FILE:gan,paper
  --config.FIELD=VALUE  sets a field, as --config.psnr.batch_size=8; configs/base.py explains them all
  --workdir FOLDER      where everything is written; runs/<name of the configuration> by default

Run again, the same command resumes from the newest checkpoint. A first run: --config quickstart
"""

import contextlib
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from esrgan_jax.errors import ConfigError, UserError
from esrgan_jax.training.config_files import find_config, others_importable


def main() -> int:
    """Train as the command line says; return the exit code."""
    if {"-h", "--help"} & set(sys.argv):
        print(str(__doc__).strip())
        return 0
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        config, workdir = parse(sys.argv)
        # Ctrl-C while modules load ends the process at once: inside of them it prints tracebacks, or gets lost.
        if interrupt is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        from esrgan_jax.training.stopping import Stopped
        from esrgan_jax.training.train import train

        try:
            train(config, workdir)
        except Stopped as stopped:
            return stopped.exit_code
    except UserError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return 0


def parse(argv: Sequence[str]) -> tuple[ConfigDict, str]:
    """Return configuration and workdir, from the words of a command line (the first is the program's name).

    Raises:
      ConfigError: the flags are wrong, or the configuration file cannot be loaded.
    """
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
        return config.value, workdir.value or str(Path("runs") / config.value.name)
    except UserError:
        raise
    except Exception as error:  # a configuration is a program: anything may go wrong in it
        raise ConfigError(_explain(error, " ".join(argv))) from error


def _find_config(argv: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the command line with the path of the configuration file instead of its name, and that path."""
    words, path = list(argv), None
    for i, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag in ("--config", "-config"):
            at = i if "=" in word else i + 1
            name, colon, argument = (value if at == i else "".join(words[at : at + 1])).partition(":")
            if name and not Path(name).is_dir():  # which the parser refuses
                path = find_config(name)
                words[at] = f"{flag}={path}{colon}{argument}" if at == i else f"{path}{colon}{argument}"
    return words, path


def _explain(error: Exception, command: str) -> str:
    """One sentence of what absl and ml_collections say in many lines, the last of which has the reason."""
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
