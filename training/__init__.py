"""Train autoencoders from recipes, export them to ONNX and publish them for the service.

The package depends on torch, never on HTTP. A published model is data (`service.card`), never code.
"""
