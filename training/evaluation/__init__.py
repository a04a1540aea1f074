"""Measures trained nets: figures, baselines, likelihoods and sample images."""
