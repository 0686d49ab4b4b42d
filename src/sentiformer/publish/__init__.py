"""Publishing a trained model: its files and its model card, in a folder or on the Hub."""
