"""The machine that a pickle is a program for: a stack, a memo, and what its opcodes do to them.

It builds dicts, lists, tuples, strings and numbers, and looks every global up in a table. What the table lacks
becomes a `Placeholder`: nothing is imported, and nothing outside the table is called. It stops when what it has built
would need more than `MAX_MEMORY` bytes.
"""

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


class Machine:
    """The stack, the memo and one method an opcode."""

    def __init__(self, data, start, known, persistent_load, left_out):
        self.data, self.position = memoryview(data), start
        self.known, self.persistent_load, self.left_out = known, persistent_load, left_out
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.room = MAX_MEMORY

    def run(self, steps: Mapping[int, Callable[["Machine"], Any]]) -> Any:
        """What the pickle holds; `steps` has one for each opcode."""
        while True:
            self.charge(16)  # so that even steps which build nothing come to an end
            opcode = self.take(1)[0]
            if opcode == ord("."):
                return self.stack.pop()
            step = steps.get(opcode)
            if step is None:
                raise MalformedFileError(f"its pickle has the unknown opcode 0x{opcode:02x}")
            step(self)

    # --- reading

    def take(self, count: int) -> memoryview:
        """Return the next bytes."""
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise MalformedFileError("it ends too early")
        piece, self.position = self.data[self.position : end], end
        return piece

    def number(self, form: str) -> int:
        """Return the next number, packed as `struct` says."""
        return struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]

    def line(self, decode: Callable[[bytes], str] = bytes.decode) -> str:
        """Return the text up to the end of the line."""
        # memoryview has no find: the longest line that can be meant is copied.
        text = bytes(self.data[self.position : self.position + MAX_LINE])
        end = text.find(b"\n")
        if end < 0:
            raise MalformedFileError("its pickle is damaged")
        self.position += end + 1
        return decode(text[:end])

    def text(self, count: int) -> None:
        """Push text of as many bytes."""
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
        """Push an integer of as many bytes."""
        if count > MAX_LONG:
            raise MalformedFileError("its pickle is damaged")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    # --- building

    def charge(self, size: int) -> None:
        """Count memory that is about to be used."""
        self.room -= size
        if self.room < 0:
            raise MalformedFileError(f"its pickle needs more than {MAX_MEMORY // 1_000_000} MB of memory")

    def push(self, value: Any, size: int = 32) -> None:
        """Push a value of about as many bytes."""
        self.charge(size + 16)
        self.stack.append(value)

    def mark(self) -> None:
        """Remember how high the stack is."""
        self.charge(64)
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        """Pop what was pushed since the last mark."""
        mark = self.marks.pop()
        if mark > len(self.stack):
            raise MalformedFileError("its pickle is damaged")
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def tuple(self, items: list[Any]) -> None:
        """Push a tuple."""
        self.push(tuple(items), 48 + 8 * len(items))

    def last(self, count: int) -> list[Any]:
        """Pop the last values."""
        if len(self.stack) < count:
            raise MalformedFileError("its pickle is damaged")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def append(self, items: list[Any]) -> None:
        """Append to the list on top."""
        self.charge(16 * len(items))
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target = target.parts
        if type(target) is not list:
            raise MalformedFileError("its pickle is damaged")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Put keys and values, in turns, into the dict on top."""
        self.charge(128 * len(items))
        target = self.stack[-1]
        fill(
            target.items if isinstance(target, Placeholder) else target,
            zip(items[::2], items[1::2], strict=True),
        )

    def remember(self, index: int) -> None:
        """Remember what is on top."""
        self.charge(144)
        self.memo[index] = self.stack[-1]

    # --- calling

    def look_up(self, module: str, name: str) -> None:
        """Push what a global name stands for."""
        full = f"{module}.{name}"
        if full in self.known:
            self.push(self.known[full])
        else:
            self.push_placeholder(ascii(full[:MAX_NAME])[1:-1])

    def push_placeholder(self, name: str, *parts: Any) -> None:
        """Push what stands for an unknown object."""
        self.left_out[name] = None
        self.push(Placeholder(name, *parts), 512 + 2 * len(name))

    def stack_global(self) -> None:
        """Push what a global name on the stack stands for."""
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
        """Push what a persistent id stands for."""
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
