"""The network: attention, input embedding, encoder, classifier, masked language model."""
