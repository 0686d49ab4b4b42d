"""Linear models of n-grams (stage baseline)."""
