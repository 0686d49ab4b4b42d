"""What is counted, not trained: n-grams and word vectors (stage word_vectors)."""
