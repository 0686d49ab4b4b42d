"""Proof that a result is real: what made it, and whether it can be rebuilt."""
