"""Text to integers: tokens, corpora, vocabulary (stages tokenize, build_vocab)."""
