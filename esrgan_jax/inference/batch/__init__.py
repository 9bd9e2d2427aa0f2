"""Upscaling many files: which ones, the work itself, and its progress."""
