"""How many processor cores there are for this process."""

import os


def available_cores() -> int:
    """At least 1; in a container or under a scheduler fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
