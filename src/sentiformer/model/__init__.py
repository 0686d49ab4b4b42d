"""The network: attention, input embedding, encoder, classifier, language model."""
