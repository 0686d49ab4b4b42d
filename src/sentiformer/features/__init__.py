"""Features that are counted, not trained: co-occurrence and word vectors (stage word_vectors)."""
