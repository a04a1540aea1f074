"""Benchmarks of Hourglass beside its floors (the web stack and onnxruntime alone) and its peers."""
