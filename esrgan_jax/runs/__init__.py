"""The run folder on disk: checkpoints, and what lies where."""

STAGES = ("psnr", "gan")
"""The stages of a run, in their order."""
