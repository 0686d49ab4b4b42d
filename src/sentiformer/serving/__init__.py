"""Use of a trained model: raw texts to predictions."""
