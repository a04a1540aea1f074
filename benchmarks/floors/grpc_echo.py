"""A bare server of grpcio's asyncio interface that returns each message, still serialized: the floor of gRPC."""

import sys
from typing import Any

import grpc
import uvloop

METHOD = "ModelInfer"
SERVICE = "inference.GRPCInferenceService"


async def echo(request: bytes, context: Any) -> bytes:  # noqa: ARG001 - the signature of grpcio
    """Return the message."""
    return request


async def main(port: int) -> None:
    """Serve until the process is stopped."""
    server = grpc.aio.server()
    handlers = {METHOD: grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
