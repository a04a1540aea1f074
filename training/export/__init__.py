"""Turns a trained net into a published model: ONNX graphs, proofs, int8 and the card."""
