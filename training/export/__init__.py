"""Publishes a trained net: exports ONNX graphs, compares them with the net, quantizes them and writes the card."""
