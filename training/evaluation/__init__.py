"""Measures trained nets: metrics, baselines, likelihoods and sample images."""
