"""Preparing a set that TFDS reads, from a folder of pictures or DIV2K."""
