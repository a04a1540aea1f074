"""onnxruntime: sessions, tensors and the choice of their options."""
