"""What a command finds around it, made usable: streams of any encoding, closed ones, JAX's switches."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator

from esrgan_jax.errors import ConfigError, UserError

LINTS = {"jax_numpy_rank_promotion": "allow", "jax_numpy_dtype_promotion": "standard"}
"""Switches of JAX that refuse code for its style, without any effect on results."""

HARMLESS = ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR", "JAX_NUM_CPU_DEVICES", "JAX_TRACEBACK_FILTERING")
"""Switches that say where JAX computes and what it keeps or prints, not how it computes."""


def settle() -> None:
    r"""Prepare this process, at the start of a command, for what it may find around it.

    - What the encoding of stdout or stderr cannot write is escaped, as in "f\xeate.png", and so are the bytes of
      names that are no UTF-8.
    - Streams that are closed become the null device. A file opened later would have their place, and what libraries
      print would be written into it.
    - JAX's lints are turned off, and warnings are no errors: that is for people who write code, and ours and that of
      libraries would stop.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in LINTS:
        os.environ.pop(name.upper(), None)
    if "error" in os.environ.pop("PYTHONWARNINGS", ""):
        warnings.simplefilter("default")
    jax = sys.modules.get("jax")
    if jax is not None:  # it has read them
        for name, value in LINTS.items():
            jax.config.update(name, value)


def printable(text: str) -> str:
    """Return one line with escapes for what would steer the terminal: control characters, turns of direction."""
    return re.sub(
        "[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]",
        lambda match: match[0].encode("unicode_escape").decode("ascii"),
        text,
    )


def say(line: str) -> None:
    """Print one line on stderr, above a bar; nothing if it cannot be written: what it tells of goes on."""
    from tqdm import tqdm

    with contextlib.suppress(OSError):
        tqdm.write(printable(line), file=sys.stderr)
        sys.stderr.flush()


def say_error(message: str) -> None:
    """Print what ends a command on stderr, if that can be written."""
    with contextlib.suppress(OSError):
        print(*map(printable, message.split("\n")), sep="\n", file=sys.stderr, flush=True)


def switches() -> list[str]:
    """Return what the environment tells JAX about how to compute, each as "NAME=value"."""
    return [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith("JAX_") and name not in HARMLESS
    ]


@contextlib.contextmanager
def switches_named() -> Iterator[None]:
    """Name what is around for errors that nobody expected: limits of this process, switches that are set for JAX.

    Raises:
      ConfigError: one sentence instead of the error.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if short := _shortage(error):
            reason = str(error) or type(error).__name__
            raise ConfigError(
                f"This process gets no more {short} ({reason}): end other programs, or raise the limit of shell, "
                "container or job; esrgan-jax doctor shows the limits."
            ) from error
        if isinstance(error, OSError):
            raise
        told = "".join(traceback.format_exception(error))
        if not switches() or not re.search(r"(?<![\w-])jax(?![\w-])", told, re.IGNORECASE):
            raise
        reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise ConfigError(
            f"This does not work ({type(error).__name__}: {reason}) while the environment has "
            f"{', '.join(switches())}: unset that and try again."
        ) from error


def _shortage(error: Exception) -> str | None:
    """Return what there is not enough of, by an error of Python, of the loader of libraries or of the system."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "memory"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "open files"
    told = str(error) if isinstance(error, (ImportError, RuntimeError)) else ""
    words = {
        "can't start new thread": "threads",
        "failed to map segment": "memory",
        "annot allocate memory": "memory",
        "Too many open files": "open files",
        "RESOURCE_EXHAUSTED": "memory",
    }
    return next((short for sign, short in words.items() if sign in told), None)


@functools.cache
def note(text: str) -> None:
    """Print a note on stderr, above a bar; the same one once in a process."""
    say(f"note      {text}")
