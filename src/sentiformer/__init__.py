"""Text classification with a Transformer that anyone can rebuild."""
