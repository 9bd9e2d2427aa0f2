"""What stands for a Python object that a file names and that is not made."""

from typing import Any


class Placeholder:
    """Stands for an object of any class; what a file does to the object is only kept here.

    Attributes:
      name: of the class or function that the file names, as it may be printed.
      items: what was put into the object as into a dict.
      parts: what else it was given: arguments, state, elements.
    """

    __slots__ = ("items", "name", "parts")

    def __init__(self, name: str, *parts: Any):
        self.name = name
        self.items: dict[Any, Any] = {}
        self.parts = list(parts)
