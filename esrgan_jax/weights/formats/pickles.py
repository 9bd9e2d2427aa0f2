"""Pickles of files that nobody trusts: each opcode as a step of the machine.

Python's own unpickler calls whatever a file names and grows its memo to whatever index a file writes; this one does
neither.
"""

import codecs
import struct
from collections.abc import Callable, Mapping
from typing import Any

from esrgan_jax.weights.formats.errors import MalformedFileError
from esrgan_jax.weights.formats.machine import MAX_LINE, Machine, ordered_dict


def load(
    data: bytes | memoryview,
    start: int,
    known: Mapping[str, Any],
    persistent_load: Callable[[Any], Any] | None = None,
    left_out: dict[str, None] | None = None,
) -> tuple[Any, int]:
    """Reads one pickle, as far as torch and Python's own pickler of any protocol write them for plain things.

    Args:
      data: where the pickle is, and what follows it.
      start: offset of its first byte.
      known: what global names such as "collections.OrderedDict" stand for. Functions among them may be
        called.
      persistent_load: turns a persistent id (a tuple or string) into an object.
      left_out: gets the names that are not in `known`, in the order of the file.

    Returns:
      The object, and the offset behind the pickle. Dicts stay in their order; nothing is shared with `data`.

    Raises:
      DamagedError: it is no pickle, damaged, or needs too much memory.
    """
    machine = Machine(data, start, known, persistent_load, {} if left_out is None else left_out)
    try:
        return machine.run(_STEPS), machine.position
    except MalformedFileError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error):
        # A damaged pickle takes things from an empty stack, calls with wrong arguments, and so on.
        raise MalformedFileError("its pickle is damaged") from None


def _unescaped(text: bytes) -> str:
    # The codec's function itself: `decode("raw-unicode-escape")` would import the codec.
    return codecs.raw_unicode_escape_decode(text)[0]


def _protocol(m: Machine) -> None:
    if m.take(1)[0] > 5 or m.stack:
        raise MalformedFileError("its pickle is of an unknown protocol")


def _pop(m: Machine) -> None:
    # Python writes POP for a mark, too, if that is what lies on top.
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.stack.pop()


_STEPS: dict[int, Callable[[Machine], Any]] = {
    0x80: _protocol,
    0x95: lambda m: m.take(8),  # a frame: how much to read ahead
    ord("("): Machine.mark,
    ord("0"): _pop,
    ord("1"): Machine.since_mark,
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): lambda m: m.push(int(m.line())),
    ord("L"): lambda m: m.push(int(m.line().removesuffix("L"))),
    ord("F"): lambda m: m.push(float(m.line())),
    ord("J"): lambda m: m.push(m.number("i")),
    ord("K"): lambda m: m.push(m.number("B")),
    ord("M"): lambda m: m.push(m.number("H")),
    0x8A: lambda m: m.long(m.number("B")),
    0x8B: lambda m: m.long(m.number("i")),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("T"): lambda m: m.raw(m.number("i")),
    ord("U"): lambda m: m.raw(m.number("B")),
    ord("B"): lambda m: m.raw(m.number("I")),
    ord("C"): lambda m: m.raw(m.number("B")),
    0x8E: lambda m: m.raw(m.number("Q")),
    0x96: lambda m: m.raw(m.number("Q")),
    0x98: lambda m: None,  # the buffer on the stack is read-only
    ord("V"): lambda m: m.push(m.line(_unescaped), 4 * MAX_LINE),
    ord("X"): lambda m: m.text(m.number("I")),
    0x8C: lambda m: m.text(m.number("B")),
    0x8D: lambda m: m.text(m.number("Q")),
    ord("]"): lambda m: m.push([], 64),
    ord("a"): lambda m: m.append(m.last(1)),
    ord("e"): lambda m: m.append(m.since_mark()),
    ord("l"): lambda m: m.push(items := m.since_mark(), 64 + 16 * len(items)),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.tuple(m.since_mark()),
    0x85: lambda m: m.tuple(m.last(1)),
    0x86: lambda m: m.tuple(m.last(2)),
    0x87: lambda m: m.tuple(m.last(3)),
    ord("}"): lambda m: m.push({}, 240),
    ord("d"): lambda m: m.push(ordered_dict(list(zip(*[iter(m.since_mark())] * 2, strict=True))), 240),
    ord("s"): lambda m: m.set_items(m.last(2)),
    ord("u"): lambda m: m.set_items(m.since_mark()),
    0x8F: lambda m: m.push([], 64),  # a set: no weights in it, a list will do
    0x90: lambda m: m.append(m.since_mark()),
    0x91: lambda m: m.tuple(m.since_mark()),
    ord("c"): lambda m: m.look_up(m.line(), m.line()),
    0x93: Machine.stack_global,
    # Further ways to name a class: by a number in Python's registry of extensions, which nobody here fills.
    0x82: lambda m: m.push_placeholder(f"extension {m.number('B')}"),
    0x83: lambda m: m.push_placeholder(f"extension {m.number('H')}"),
    0x84: lambda m: m.push_placeholder(f"extension {m.number('i')}"),
    # Further ways to make an object of a class: INST and OBJ of protocol 0 and 1, NEWOBJ and NEWOBJ_EX.
    ord("R"): lambda m: m.call(*m.last(2)),
    ord("i"): Machine.instance,
    ord("o"): lambda m: m.instantiate(m.since_mark()),
    0x81: lambda m: m.call(*m.last(2)),
    0x92: lambda m: m.instantiate(m.last(3)),
    ord("b"): lambda m: m.build(m.last(1)[0]),
    ord("P"): lambda m: m.persistent(m.line()),
    ord("Q"): lambda m: m.persistent(m.last(1)[0]),
    ord("p"): lambda m: m.remember(int(m.line())),
    ord("q"): lambda m: m.remember(m.number("B")),
    ord("r"): lambda m: m.remember(m.number("I")),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("g"): lambda m: m.push(m.memo[int(m.line())]),
    ord("h"): lambda m: m.push(m.memo[m.number("B")]),
    ord("j"): lambda m: m.push(m.memo[m.number("I")]),
}
