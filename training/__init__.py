"""Hourglass training: recipes are fitted, exported to ONNX and proven with the service's own loader.

Knows torch, never HTTP; what it publishes is data (`service.card`), never code.
"""
