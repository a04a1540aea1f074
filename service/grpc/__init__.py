"""The Open Inference Protocol, version 2, over gRPC. Imported only if its port is set; needs the extra `grpc`."""
