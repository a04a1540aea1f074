"""Floors: the web stack without inference, and onnxruntime without a web stack."""
