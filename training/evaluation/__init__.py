"""Measures trained nets: figures, baselines, likelihoods and pictures."""
