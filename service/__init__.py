"""Serves autoencoders over HTTP. Uses onnxruntime, never torch; the contract with training is `service.card`."""
