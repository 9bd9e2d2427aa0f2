"""Many files at once: which ones, the work, and what is said of it."""
