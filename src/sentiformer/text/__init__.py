"""Texts to integers: tokens, corpora, vocabulary, n-grams (stages tokenize, build_vocab)."""
