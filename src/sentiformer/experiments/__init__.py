"""Runs the pipeline again with other parameters: a search, and the folds of a cross-validation."""
