"""A trained model in files from which a program without torch predicts."""
