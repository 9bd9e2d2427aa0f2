"""Errors a user can cause: a message that names the file or field and says what to do, and an exit code."""


class UserError(Exception):
    """An error the user can fix; commands print the message alone and end with `exit_code`."""

    exit_code = 1


class ConfigError(UserError):
    """A configuration or a command line that cannot be run."""

    exit_code = 2


class DataError(UserError):
    """An image or a data set that cannot be used."""


class WeightFileError(UserError):
    """A file of network weights that cannot be used."""


class InferenceError(UserError):
    """A picture that a network cannot enlarge: numbers that are not finite, or too little memory."""


class DivergedError(UserError):
    """Training whose losses or gradients are no longer finite numbers."""

    exit_code = 3


class CheckpointError(UserError):
    """A checkpoint that cannot be used or written."""
