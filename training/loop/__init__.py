"""Fits a net: the training loop, its state, checkpoints, guards and run folder."""
