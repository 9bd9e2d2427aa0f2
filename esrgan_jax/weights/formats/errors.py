"""What can be wrong with the bytes of a weight file."""


class MalformedFileError(ValueError):
    """A file's bytes contradict themselves; the text goes on after "FILE cannot be read: "."""


class OtherFileError(ValueError):
    """A file is whole, but no weight file; the text goes on after "FILE is " and has the way out."""
