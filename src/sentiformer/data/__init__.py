"""From a source of texts to splits without leaks (stage download)."""
