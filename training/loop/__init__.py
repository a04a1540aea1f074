"""Fits a net: the training loop, its state, its checkpoints and its guards."""
