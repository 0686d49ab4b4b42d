"""Runs, models and reports in MLflow, from the files in `data/`."""
