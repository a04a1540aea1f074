"""Imports models that other programs trained: reads ONNX files, finds out how they see images, and publishes them."""
