"""A web page on which a person tries a trained model, and the same predictions as JSON."""
