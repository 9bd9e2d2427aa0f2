"""Evaluating a model on pictures: scores, the known test sets, results as table and page."""
