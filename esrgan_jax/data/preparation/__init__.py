"""Making a set that TFDS reads: of a folder's pictures, or DIV2K."""
