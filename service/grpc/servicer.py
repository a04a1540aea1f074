"""The methods of `inference.GRPCInferenceService`. They answer with the documents and the pipeline of the HTTP API."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from service.errors import Forbidden, MalformedBody, ModelNotFound, ModelRejected
from service.grpc import open_inference_pb2 as pb
from service.grpc.call import SERVICE, Context, GrpcCall, answer, create_call
from service.grpc.infer import run_request, stream
from service.grpc.messages import stream_error, stream_response
from service.oip.names import split_name
from service.repository import open_inference
from service.repository.open_inference import find_model
from service.state import State

Handler = Callable[[GrpcCall, Any], Awaitable[Message]]


class InferenceService:
    """The methods on one state. Each gets the call and the request, and returns the response."""

    def __init__(self, state: State) -> None:
        self._state = state

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the handlers of all methods."""
        unary: dict[str, Handler] = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ServerMetadata": self.server_metadata,
            "ModelReady": self.model_ready,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.model_load,
            "RepositoryModelUnload": self.model_unload,
        }
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: self._unary(name, handler) for name, handler in unary.items()
        }
        # Requests and responses for inference stay serialized, so that their tensors are not copied.
        methods["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self.model_infer)
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self.model_stream_infer)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _unary(self, name: str, handler: Handler) -> "grpc.RpcMethodHandler[Any, Any]":
        request_type: Any = getattr(pb, f"{name}Request")

        async def respond(request: Any, context: Context) -> Message:
            call = create_call(self._state, name, context)
            return await answer(call, context, lambda: handler(call, request))

        return grpc.unary_unary_rpc_method_handler(
            respond,
            request_deserializer=request_type.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    async def server_live(self, call: GrpcCall, request: pb.ServerLiveRequest) -> Message:  # noqa: ARG002
        """Report whether the process works."""
        watchdog = call.state.watchdog
        return pb.ServerLiveResponse(live=not (watchdog and watchdog.failure))

    async def server_ready(self, call: GrpcCall, request: pb.ServerReadyRequest) -> Message:  # noqa: ARG002
        """Report whether models are loaded and the service is not shutting down."""
        return pb.ServerReadyResponse(ready=call.state.is_ready)

    async def server_metadata(self, call: GrpcCall, request: pb.ServerMetadataRequest) -> Message:  # noqa: ARG002
        """Describe the server."""
        call.authorize("/v2")
        document = open_inference.server_metadata(version("hourglass"), call.state.settings)
        return ParseDict(document, pb.ServerMetadataResponse())

    async def model_ready(self, call: GrpcCall, request: pb.ModelReadyRequest) -> Message:
        """Report whether a model can be used."""
        try:
            await self._find(call, request)
        except (ModelNotFound, ModelRejected):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def model_metadata(self, call: GrpcCall, request: pb.ModelMetadataRequest) -> Message:
        """Describe a model."""
        served = await self._find(call, request)
        return ParseDict(open_inference.model_metadata(call.state.store, served), pb.ModelMetadataResponse())

    async def model_config(self, call: GrpcCall, request: pb.ModelConfigRequest) -> Message:
        """Return the configuration of a model, as Triton does."""
        served = await self._find(call, request)
        config = open_inference.model_config(served, call.state.settings)
        return ParseDict({"config": config}, pb.ModelConfigResponse())

    async def model_statistics(self, call: GrpcCall, request: pb.ModelStatisticsRequest) -> Message:
        """Return the statistics of a model, or of all models."""
        if request.name:
            models = [await self._find(call, request)]
        else:
            call.authorize("/v2/models/stats")
            models = [*open_inference.served_models(call.state.store)]
        statistics = call.state.metrics.statistics()
        documents = [open_inference.model_statistics(model, statistics) for model in models]
        return ParseDict({"model_stats": documents}, pb.ModelStatisticsResponse())

    async def repository_index(self, call: GrpcCall, request: pb.RepositoryIndexRequest) -> Message:
        """List all models and versions with their states."""
        call.authorize("/v2/repository/index")
        entries = open_inference.repository_index(call.state.store, ready_only=request.ready)
        return ParseDict({"models": entries}, pb.RepositoryIndexResponse())

    async def model_load(self, call: GrpcCall, request: pb.RepositoryModelLoadRequest) -> Message:
        """Load a model, and look for new versions."""
        self._check_control(call, set(request.parameters))
        parts = split_name(request.model_name)
        await call.state.store.load(parts.model, parts.operation)
        return pb.RepositoryModelLoadResponse()

    async def model_unload(self, call: GrpcCall, request: pb.RepositoryModelUnloadRequest) -> Message:
        """Unload a model."""
        self._check_control(call, set(request.parameters) - {"unload_dependents"})
        parts = split_name(request.model_name)
        await call.state.store.unload(parts.model, parts.operation)
        return pb.RepositoryModelUnloadResponse()

    async def model_infer(self, request: bytes, context: Context) -> bytes:
        """Run a request for inference; request and response are serialized."""
        call = create_call(self._state, "ModelInfer", context)
        return await answer(call, context, lambda: _joined(call, request))

    async def model_stream_infer(self, requests: AsyncIterable[bytes], context: Context) -> AsyncGenerator[bytes]:
        """Run the requests of a stream at once, and answer them in their order."""

        def respond() -> GrpcCall:
            call = create_call(self._state, "ModelStreamInfer", context)
            call.seconds = None  # the deadline of the stream ends the stream
            return call

        async for outcome in stream(requests, respond):
            if isinstance(outcome.result, str):
                yield stream_error(outcome.result, outcome.request_id)
            else:
                yield stream_response(outcome.result)

    async def _find(self, call: GrpcCall, request: Any) -> open_inference.ServedModel:
        operation = split_name(request.name).operation
        call.authorize(f"/{operation}" if operation else "/v2/models")
        served = await find_model(call.state.store, request.name, request.version)
        call.model = served.model.card.name
        return served

    def _check_control(self, call: GrpcCall, parameters: set[str]) -> None:
        call.authorize("/v2/repository")
        if not call.state.settings.enable_model_control:
            raise Forbidden("loading and unloading is disabled; HOURGLASS_ENABLE_MODEL_CONTROL enables it")
        if parameters:
            raise MalformedBody("parameters: models are loaded from the models folder only; send no parameters")


async def _joined(call: GrpcCall, request: bytes) -> bytes:
    return b"".join(await run_request(call, request))
