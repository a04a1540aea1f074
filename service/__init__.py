"""Serves autoencoders over HTTP. Knows onnxruntime, never torch; the contract with training is `service.card`."""
