"""Use of a trained model: predictions for raw texts."""
