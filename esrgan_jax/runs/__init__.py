"""The run folder on disk: checkpoints, and what lies where."""
