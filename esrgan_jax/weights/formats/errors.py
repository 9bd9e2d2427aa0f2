"""What can be wrong with the bytes of a weight file."""


class MalformedFileError(ValueError):
    """A file's bytes contradict themselves; the text goes on after "FILE cannot be read: "."""


class ForbiddenGlobalError(MalformedFileError):
    """A pickle names a Python object that weights do not need; `name` is what it names."""

    def __init__(self, name: str):
        super().__init__(f"it asks for the Python object {name}")
        self.name = name
