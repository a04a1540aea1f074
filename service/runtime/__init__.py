"""Runs graphs with onnxruntime: sessions, tensors and the choice of options."""
