"""Finds the commands that documents, source files and programs' outputs tell people to type.

A command stands in a block of a Markdown page, in backticks or parentheses, or on a line of its own, maybe after a
label. `esrgan-jax NAME` without arguments in a sentence is a mention: NAME must exist.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOLE = "\0"  # in the text of an f-string: a value
_NAMES = r"esrgan-jax|python3?|pip|pytest|tensorboard|ruff|mypy|sphinx-build|pre-commit|srun|gcloud|\.ci/run"
_ALONE = ("pytest", "mypy", ".ci/run")  # commands without any argument
_START = rf"(?:[A-Z_]+=\S+ )*(?:{_NAMES})(?= [^\d])"  # no number: a version
_OWN_LINE = re.compile(rf"^\s*(?:[A-Za-z][\w ]*?(?:: +|  +))?({_START} .*[^\s:])\s*$")
_BARE = re.compile(r"esrgan-jax [a-z][a-z-]*|python train\.py")
_MENTION = re.compile(r"(?<![\w`/-])esrgan-jax ([a-z][a-z-]*)(?![\w:-])")
_USAGE = re.compile(r"^usage:.*?(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)  # a syntax, not a command


@dataclass(frozen=True)
class Printed:
    """What is typed at one place: one command, or the lines of a block, one after the other.

    Attributes:
      place: file and line.
      script: the text, for a shell.
      mention: a name in a sentence rather than a command with its arguments.
    """

    place: str
    script: str
    mention: bool = False


def in_file(path: Path, name: str) -> list[Printed]:
    """The commands of a Markdown, reStructuredText or Python file that is called `name`."""
    text = path.read_text(encoding="utf-8")
    found = _in_python(text) if path.suffix == ".py" else _in_page(text)
    return [Printed(f"{name}:{line}", script, mention) for line, script, mention in found]


def in_output(text: str, place: str) -> list[Printed]:
    """The commands in what a program printed."""
    return [Printed(place, script, mention) for _, script, mention in _in_text(text)]


def with_values(path: Path) -> list[str]:
    """The commands in f-strings of a Python file that hold a value: only a run shows them; holes are HOLE."""
    return [
        script
        for _, text, _ in _strings(ast.parse(path.read_text(encoding="utf-8")))
        for _, script, mention in _in_text(text)
        if HOLE in script and not script.startswith(f"esrgan-jax {HOLE}")  # a name of a thread
    ]


def _is_command(text: str) -> bool:
    return text in _ALONE or re.match(_START, text) is not None


def _in_page(text: str) -> Iterator[tuple[int, str, bool]]:
    def blank(match: re.Match) -> str:
        return "\n" * match[0].count("\n")

    for match in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line, language, block = text[: match.start()].count("\n") + 2, match[1], match[2]
        if language in ("sh", "bash") or (language == "" and _is_command(block.strip())):
            yield line, block.strip(), False
        elif language == "yaml":
            for listed in re.findall(r"command: \[(.*?)\]", block, re.DOTALL):
                yield line, " ".join(listed.replace(",", " ").split()), False
    yield from _in_backticks(re.sub(r"^```.*?^```", blank, text, flags=re.MULTILINE | re.DOTALL))


def _in_python(text: str) -> Iterator[tuple[int, str, bool]]:
    for line, string, raw in _strings(ast.parse(text)):
        for below, script, mention in _in_text(string):
            if HOLE not in script:
                yield line + (below if raw else 0), script, mention


def _strings(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """(line, text, whether its lines are those of the file) of every string; values of f-strings are HOLE."""
    inside = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    } - {node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
            yield node.lineno, "".join(map(str, parts)), False
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.lineno, node.value, node.end_lineno != node.lineno


def _in_text(text: str) -> Iterator[tuple[int, str, bool]]:
    def blank(match: re.Match) -> str:
        return "\n" * match[0].count("\n")

    text = _USAGE.sub(blank, text)
    lines = text.split("\n")
    block: list[str] = []  # lines that follow each other are typed one after the other
    for number, line in enumerate([*lines, ""]):
        own = _OWN_LINE.match(line)
        if own and not re.match(r"esrgan-jax [\w\0-]+: ", own[1]):  # whose message it is
            block.append(re.sub(r"(?<=\w|\])\.$", "", own[1]))
            lines[number] = ""
        elif block:
            yield (
                number - len(block),
                "\n".join(block),
                _BARE.fullmatch(block[0]) is not None and len(block) == 1,
            )
            block = []
    rest = "\n".join(lines)
    yield from _in_backticks(rest)
    rest = re.sub(r"`[^`]*`", lambda quoted: " " * len(quoted[0]), rest)
    for match in re.finditer(rf"\(({_START} [^()]+)\)", rest):
        if not _BARE.fullmatch(match[1]):
            yield rest[: match.start()].count("\n"), match[1], False
    for match in _MENTION.finditer(rest):
        if re.match(r" -{1,2}\w", rest[match.end() :]):
            line = rest[match.start() :].partition("\n")[0]
            raise ValueError(f"A command in a sentence needs backticks, or a line of its own: {line}")
        yield rest[: match.start()].count("\n"), match[0], True


def _in_backticks(text: str) -> Iterator[tuple[int, str, bool]]:
    for match in re.finditer(r"(`+)([^`]+)\1", text):
        script = " ".join(match[2].split())
        if _is_command(script):
            yield text[: match.start()].count("\n") + 1, script, _BARE.fullmatch(script) is not None
