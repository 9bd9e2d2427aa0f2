"""A small pickle machine for files that nobody trusts: plain containers, few calls, bounded memory.

Python's own unpickler calls whatever a file names and grows its memo to whatever index a file writes. This
one builds dicts, lists, tuples, strings and numbers, and looks every global up in a table. What the table lacks
becomes a `Placeholder`: nothing is imported, and nothing outside the table is called. It stops when what it has
built would need more than `MAX_MEMORY` bytes.
"""

import codecs
import struct
from collections.abc import Callable, Mapping
from typing import Any

from esrgan_jax.weights.formats.errors import MalformedFileError
from esrgan_jax.weights.formats.placeholder import Placeholder

MAX_MEMORY = 48_000_000
"""Bytes, as estimated below. A checkpoint of both networks with their optimizers needs about 10 million."""

MAX_LINE = 4096
MAX_LONG = 255
MAX_NAME = 100
SAFE_KEYS = (str, bytes, bool, float, type(None))


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
    machine = _Machine(data, start, known, persistent_load, {} if left_out is None else left_out)
    try:
        return machine.run(), machine.position
    except MalformedFileError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error):
        # A damaged pickle takes things from an empty stack, calls with wrong arguments, and so on.
        raise MalformedFileError("its pickle is damaged") from None


class _Machine:
    """The stack, the memo and one method an opcode."""

    def __init__(self, data, start, known, persistent_load, left_out):
        self.data, self.position = memoryview(data), start
        self.known, self.persistent_load, self.left_out = known, persistent_load, left_out
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.room = MAX_MEMORY

    def run(self) -> Any:
        while True:
            self.charge(16)  # so that even steps which build nothing come to an end
            opcode = self.take(1)[0]
            if opcode == ord("."):
                return self.stack.pop()
            step = _STEPS.get(opcode)
            if step is None:
                raise MalformedFileError(f"its pickle has the unknown opcode 0x{opcode:02x}")
            step(self)

    # --- reading

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise MalformedFileError("it ends too early")
        piece, self.position = self.data[self.position : end], end
        return piece

    def number(self, form: str) -> int:
        return struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]

    def line(self, decode: Callable[[bytes], str] = bytes.decode) -> str:
        # memoryview has no find: the longest line that can be meant is copied.
        text = bytes(self.data[self.position : self.position + MAX_LINE])
        end = text.find(b"\n")
        if end < 0:
            raise MalformedFileError("its pickle is damaged")
        self.position += end + 1
        return decode(text[:end])

    def text(self, count: int) -> None:
        self.charge(4 * count + 64)  # one character beyond Latin makes all of them four bytes wide
        self.push(str(self.take(count), "utf-8", "surrogatepass"))

    def raw(self, count: int) -> None:
        """Python 2's strings are text to torch; bytes that are none stay bytes."""
        self.charge(4 * count + 64)
        piece = bytes(self.take(count))
        try:
            self.push(piece.decode())
        except UnicodeDecodeError:
            self.push(piece)

    def long(self, count: int) -> None:
        if count > MAX_LONG:
            raise MalformedFileError("its pickle is damaged")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    # --- building

    def charge(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise MalformedFileError(f"its pickle needs more than {MAX_MEMORY // 1_000_000} MB of memory")

    def push(self, value: Any, size: int = 32) -> None:
        self.charge(size + 16)
        self.stack.append(value)

    def mark(self) -> None:
        self.charge(64)
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        if mark > len(self.stack):
            raise MalformedFileError("its pickle is damaged")
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def tuple(self, items: list[Any]) -> None:
        self.push(tuple(items), 48 + 8 * len(items))

    def last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise MalformedFileError("its pickle is damaged")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def append(self, items: list[Any]) -> None:
        self.charge(16 * len(items))
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target = target.parts
        if type(target) is not list:
            raise MalformedFileError("its pickle is damaged")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        self.charge(128 * len(items))
        target = self.stack[-1]
        fill(
            target.items if isinstance(target, Placeholder) else target,
            zip(items[::2], items[1::2], strict=True),
        )

    def remember(self, index: int) -> None:
        self.charge(144)
        self.memo[index] = self.stack[-1]

    # --- calling

    def look_up(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full in self.known:
            self.push(self.known[full])
        else:
            self.push_placeholder(ascii(full[:MAX_NAME])[1:-1])

    def push_placeholder(self, name: str, *parts: Any) -> None:
        self.left_out[name] = None
        self.push(Placeholder(name, *parts), 512 + 2 * len(name))

    def stack_global(self) -> None:
        module, name = self.last(2)
        if type(module) is not str or type(name) is not str:
            raise MalformedFileError("its pickle is damaged")
        self.look_up(module, name)

    def call(self, function: Any, arguments: Any) -> None:
        """Call what the table holds; a placeholder, which cannot be called, gives one that keeps the arguments."""
        if isinstance(function, Placeholder):
            self.push_placeholder(function.name, *[arguments] * bool(arguments))
            return
        # Only the table holds anything that can be called, so this calls nothing else.
        if not callable(function) or type(arguments) is not tuple:
            raise MalformedFileError("its pickle is damaged")
        self.charge(128 * sum(len(value) for value in arguments if type(value) in (list, tuple)))
        self.push(function(*arguments), 256)

    def instantiate(self, parts: list[Any]) -> None:
        """Make an object of the class parts[0] as OBJ does."""
        self.call(parts[0], tuple(parts[1:]))

    def instance(self) -> None:
        """Make an object as INST does, which names the class in place."""
        self.look_up(self.line(), self.line())
        self.call(self.stack.pop(), tuple(self.since_mark()))

    def build(self, state: Any) -> None:
        """An object's further state: that of torch's own tensors and dicts has nothing that weights need."""
        self.charge(16)
        if isinstance(self.stack[-1], Placeholder):
            self.stack[-1].parts.append(state)

    def persistent(self, identity: Any) -> None:
        if self.persistent_load is None:
            raise MalformedFileError("its pickle is damaged")
        self.push(self.persistent_load(identity), 128)


def fill(target: Any, pairs: Any) -> None:
    """Puts pairs into a dict; keys other than strings and small numbers are replaced.

    Hashing a deep tuple could exhaust the C stack, and huge integers can be chosen to collide.
    """
    if type(target) is not dict:
        raise MalformedFileError("its pickle is damaged")
    for key, value in pairs:
        is_small = type(key) is int and abs(key) < 2**60
        target[key if is_small or type(key) in SAFE_KEYS else Placeholder("key", key)] = value


def ordered_dict(pairs: Any = ()) -> dict:
    """What `collections.OrderedDict` stands for: a dict; Python 2 hands over the pairs at once."""
    if type(pairs) not in (list, tuple):
        raise MalformedFileError("its pickle is damaged")
    result: dict = {}
    fill(result, pairs)
    return result


def _unescaped(text: bytes) -> str:
    # The codec's function itself: `decode("raw-unicode-escape")` would import the codec.
    return codecs.raw_unicode_escape_decode(text)[0]


def _protocol(m: _Machine) -> None:
    if m.take(1)[0] > 5 or m.stack:
        raise MalformedFileError("its pickle is of an unknown protocol")


def _pop(m: _Machine) -> None:
    # Python writes POP for a mark, too, if that is what lies on top.
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.stack.pop()


_STEPS: dict[int, Callable[[_Machine], Any]] = {
    0x80: _protocol,
    0x95: lambda m: m.take(8),  # a frame: how much to read ahead
    ord("("): _Machine.mark,
    ord("0"): _pop,
    ord("1"): _Machine.since_mark,
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
    0x93: _Machine.stack_global,
    # Further ways to name a class: by a number in Python's registry of extensions, which nobody here fills.
    0x82: lambda m: m.push_placeholder(f"extension {m.number('B')}"),
    0x83: lambda m: m.push_placeholder(f"extension {m.number('H')}"),
    0x84: lambda m: m.push_placeholder(f"extension {m.number('i')}"),
    # Further ways to make an object of a class: INST and OBJ of protocol 0 and 1, NEWOBJ and NEWOBJ_EX.
    ord("R"): lambda m: m.call(*m.last(2)),
    ord("i"): _Machine.instance,
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
