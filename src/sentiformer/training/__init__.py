"""Batches, losses, optimizers, the training loop, checkpoints (stages pretrain, train)."""
