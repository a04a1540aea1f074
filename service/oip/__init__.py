"""The Open Inference Protocol, version 2: its requests, tensors and responses, without a transport or a codec."""
