"""Training data: sources of {lr, hr} pairs, random crops and flips, a pipeline that can be resumed.

Read in this order: `sources.py` (where pairs come from), `crops.py` (what is cut from one), `pipeline.py` (how they
become batches). grain is imported by `pipeline.py` alone, TFDS when a TFDS set is opened.
"""
