"""A model against pictures: scores, the known test sets, results as table and page."""
