"""MLflow's view of the files in `data/`."""
