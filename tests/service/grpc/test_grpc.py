"""The Open Inference Protocol over gRPC, with a client made from the generated messages alone."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from numpy.typing import NDArray

from service.auth import new_key
from service.config import Settings
from service.grpc import open_inference_pb2 as pb
from service.grpc.server import GrpcServer
from service.http.app import create_app
from tests.conftest import digit, png
from tests.support.tiny_models import SIDE, encode_oracle

Array = NDArray[Any]
ROOT = Path(__file__).parents[3]
PREFIX = "/inference.GRPCInferenceService/"
Call = Callable[..., Awaitable[Any]]


def serialize(message: Message) -> bytes:
    """Return a message as it is on the wire."""
    return message.SerializeToString()


class Client:
    """A client of one channel."""

    def __init__(self, channel: grpc.aio.Channel, server: GrpcServer) -> None:
        self.channel, self.server = channel, server

    async def call(self, method: str, request: Message | None = None, **options: Any) -> Any:
        request_type, response_type = (
            getattr(pb, f"{method}Request", pb.ModelInferRequest),
            getattr(pb, f"{method}Response"),
        )
        rpc = self.channel.unary_unary(
            PREFIX + method,
            request_serializer=serialize,
            response_deserializer=response_type.FromString,
        )
        return await rpc(request_type() if request is None else request, **options)

    def stream(self, requests: AsyncIterator[Any]) -> Any:
        rpc = self.channel.stream_stream(
            PREFIX + "ModelStreamInfer",
            request_serializer=serialize,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        return rpc(requests)

    async def status(self, method: str, request: Message, **options: Any) -> tuple[grpc.StatusCode, str]:
        """Return the status and details of a call that must fail."""
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await self.call(method, request, **options)
        return failure.value.code(), failure.value.details() or ""


@asynccontextmanager
async def connected(models: Path, **settings: Any) -> AsyncGenerator[Client]:
    """Serve in this process, and yield a client."""
    values = {"models_dir": models, "model_watch": "off", **settings}
    app = create_app(Settings.model_validate(values))
    async with app.router.lifespan_context(app) as state:
        server = GrpcServer(state["service"], 0)  # type: ignore[index]
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Client(channel, server)
        await server.stop(1)


def run(models: Path, work: Callable[[Client], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with connected(models, **settings) as client:
            await asyncio.wait_for(work(client), 60)

    asyncio.run(main())


def request(array: Array, model: str = "digits.denoise", **fields: Any) -> Any:
    """Return a request with one raw tensor."""
    kind = {"uint8": "UINT8", "float32": "FP32"}[array.dtype.name]
    entry = {"name": "image" if kind == "UINT8" else "vector", "datatype": kind, "shape": array.shape}
    values: dict[str, Any] = {"model_name": model, "inputs": [entry], "raw_input_contents": [array.tobytes()]}
    return pb.ModelInferRequest(**(values | fields))


def output(response: Any) -> Array:
    (tensor,), (raw,) = response.outputs, response.raw_output_contents
    dtype = {"UINT8": np.uint8, "FP32": np.float32}[tensor.datatype]
    return np.frombuffer(raw, dtype).reshape(tuple(tensor.shape))


IMAGES = np.stack([digit(0), digit(1)])


def test_generated_code_is_current(tmp_path: Path) -> None:
    path = "service/grpc/open_inference.proto"
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I.",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
        path,
    ]
    subprocess.run(command, check=True, cwd=ROOT)
    for suffix in ("_pb2.py", "_pb2.pyi"):
        generated = tmp_path / path.replace(".proto", suffix)
        assert generated.read_text() == (ROOT / path.replace(".proto", suffix)).read_text()


def test_documents_are_those_of_http(models: Path) -> None:
    async def work(client: Client) -> None:
        assert (await client.call("ServerLive")).live
        assert (await client.call("ServerReady")).ready
        server = await client.call("ServerMetadata")
        assert server.name == "hourglass"
        assert "statistics" in server.extensions
        named = {"name": "photos.denoise"}
        assert (await client.call("ModelReady", pb.ModelReadyRequest(**named))).ready
        assert not (await client.call("ModelReady", pb.ModelReadyRequest(name="nobody.encode"))).ready
        metadata = await client.call("ModelMetadata", pb.ModelMetadataRequest(**named))
        assert list(metadata.inputs[0].shape) == [-1, -1, -1, 3]
        config = (await client.call("ModelConfig", pb.ModelConfigRequest(**named))).config
        assert (config.input[0].data_type, list(config.input[0].dims)) == (pb.TYPE_UINT8, [-1, -1, 3])
        assert config.max_batch_size == 1024
        index = await client.call("RepositoryIndex")
        assert {(model.name, model.state) for model in index.models} >= {("digits.encode", "READY")}

    run(models, work)


def test_raw_tensors_in_and_out(models: Path) -> None:
    async def work(client: Client) -> None:
        response = await client.call("ModelInfer", request(IMAGES, id="7", model_version="1"))
        assert (response.model_name, response.model_version, response.id) == ("digits.denoise", "1", "7")
        assert (output(response) == 255 - IMAGES).all()
        codes = output(await client.call("ModelInfer", request(IMAGES, "digits.encode")))
        assert np.allclose(codes, encode_oracle(IMAGES), atol=1e-5)

    run(models, work)


def test_typed_contents_and_encoded_images(models: Path) -> None:
    async def work(client: Client) -> None:
        tensor = {"name": "image", "datatype": "UINT8", "shape": IMAGES.shape}
        typed = {**tensor, "contents": {"uint_contents": IMAGES.ravel().tolist()}}
        response = await client.call("ModelInfer", request(IMAGES, inputs=[typed], raw_input_contents=[]))
        assert (output(response) == 255 - IMAGES).all()
        files = [png(image) for image in IMAGES]
        encoded = {"name": "image", "datatype": "BYTES", "shape": [2], "contents": {"bytes_contents": files}}
        response = await client.call("ModelInfer", request(IMAGES, inputs=[encoded], raw_input_contents=[]))
        assert (output(response) == 255 - IMAGES).all()
        raw = b"".join(len(file).to_bytes(4, "little") + file for file in files)
        del encoded["contents"]
        response = await client.call("ModelInfer", request(IMAGES, inputs=[encoded], raw_input_contents=[raw]))
        assert (output(response) == 255 - IMAGES).all()

    run(models, work)


def test_stream_answers_in_order_and_survives_errors(models: Path) -> None:
    async def requests() -> AsyncGenerator[Any]:
        for number in range(40):
            images = np.full((1, SIDE, SIDE, 1), number, np.uint8)
            model = "digits.nothing" if number == 20 else "digits.denoise"
            yield request(images, model, id=str(number))

    async def work(client: Client) -> None:
        answers = [answer async for answer in client.stream(requests())]
        assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(40)]
        for number, answer in enumerate(answers):
            assert bool(answer.error_message) == (number == 20)
            assert number == 20 or (output(answer.infer_response) == 255 - number).all()

    run(models, work)


def test_leaving_a_stream_cancels_its_requests(models: Path) -> None:
    async def forever() -> AsyncGenerator[Any]:
        while True:
            yield request(IMAGES)
            await asyncio.sleep(0)

    async def work(client: Client) -> None:
        rpc = client.stream(forever())
        async for _ in rpc:
            break
        rpc.cancel()
        await asyncio.sleep(0.2)
        assert [task for task in asyncio.all_tasks() if "_outcome" in repr(task)] == []
        assert (output(await client.call("ModelInfer", request(IMAGES))) == 255 - IMAGES).all()

    run(models, work)


TENSOR = {"name": "image", "datatype": "UINT8", "shape": IMAGES.shape}
PARAMETER = {"temperature": pb.InferParameter(int64_param=1)}
INVALID: dict[str, dict[str, Any]] = {
    "no inputs": {"inputs": [], "raw_input_contents": []},
    "raw tensor missing": {"raw_input_contents": []},
    "raw tensor too short": {"raw_input_contents": [b"1"]},
    "too many raw tensors": {"raw_input_contents": [IMAGES.tobytes(), b""]},
    "raw and typed": {"inputs": [{**TENSOR, "contents": {"uint_contents": [1]}}]},
    "negative sides": {"inputs": [{**TENSOR, "shape": [-2, -SIDE, SIDE, 1]}]},
    "overflowing sides": {"inputs": [{**TENSOR, "shape": [2**62, 2**62]}]},
    "unknown datatype": {"inputs": [{**TENSOR, "datatype": "UINT9"}]},
    "unknown input": {"inputs": [{**TENSOR, "name": "other"}]},
    "two inputs of one name": {"inputs": [TENSOR, TENSOR], "raw_input_contents": [IMAGES.tobytes()] * 2},
    "unknown output": {"outputs": [{"name": "other"}]},
    "unknown parameter": {"parameters": PARAMETER},
    "another size": {"inputs": [{**TENSOR, "parameters": {"binary_data_size": pb.InferParameter(int64_param=1)}}]},
    "batch of 0": {"inputs": [{**TENSOR, "shape": [0, SIDE, SIDE, 1]}], "raw_input_contents": [b""]},
    "bad version": {"model_version": "x"},
}


def test_invalid_requests_get_one_clear_error(models: Path) -> None:
    async def work(client: Client) -> None:
        for case, fields in INVALID.items():
            code, details = await client.status("ModelInfer", request(IMAGES, **fields))
            assert code is grpc.StatusCode.INVALID_ARGUMENT, (case, details)
            assert 10 < len(details) < 400, case
        for name in ("nobody.encode", "digits", "digits.other", ""):
            code, _ = await client.status("ModelInfer", request(IMAGES, name))
            assert code is grpc.StatusCode.NOT_FOUND, name
        assert (output(await client.call("ModelInfer", request(IMAGES))) == 255 - IMAGES).all()

    run(models, work)


@pytest.mark.parametrize("body", [b"\xff" * 20, b"\x3a\xff\x01", b"\x0a\x05ab", b"\x0b", b"\x2a\x02\xff\xff"])
def test_bytes_that_are_no_message_are_invalid(models: Path, body: bytes) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await client.channel.unary_unary(PREFIX + "ModelInfer")(body)
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(models, work)


def test_message_over_the_limit_is_rejected(models: Path) -> None:
    async def work(client: Client) -> None:
        code, _ = await client.status("ModelInfer", request(np.zeros((1, 1 << 17), np.uint8)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (output(await client.call("ModelInfer", request(IMAGES))) == 255 - IMAGES).all()

    run(models, work, max_body_bytes=1 << 16)


def test_deadline_of_the_client_ends_the_request(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    async def hang(*_: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def work(client: Client) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("service.engine.operations._run_itemwise", hang)
            code, _ = await client.status("ModelInfer", request(IMAGES), timeout=0.2)
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            for _ in range(100):
                if ended:
                    break
                await asyncio.sleep(0.02)
        assert ended
        assert (output(await client.call("ModelInfer", request(IMAGES))) == 255 - IMAGES).all()

    run(models, work)


def test_keys_are_metadata(models: Path, tmp_path: Path) -> None:
    key, line = new_key("camera")
    (tmp_path / "keys").write_text(f"{line} denoise\n")

    async def work(client: Client) -> None:
        assert (await client.call("ServerReady")).ready
        code, _ = await client.status("ModelInfer", request(IMAGES))
        assert code is grpc.StatusCode.UNAUTHENTICATED
        metadata = (("authorization", f"Bearer {key}"),)
        assert (output(await client.call("ModelInfer", request(IMAGES), metadata=metadata)) == 255 - IMAGES).all()
        code, _ = await client.status("ModelInfer", request(IMAGES, "digits.encode"), metadata=metadata)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        code, _ = await client.status("RepositoryIndex", pb.RepositoryIndexRequest(), metadata=metadata)
        assert code is grpc.StatusCode.PERMISSION_DENIED

    run(models, work, api_keys_file=tmp_path / "keys")


def test_models_are_unloaded_and_loaded_by_a_key(models: Path, tmp_path: Path) -> None:
    key, line = new_key("operator")
    (tmp_path / "keys").write_text(f"{line}\n")
    metadata = (("x-api-key", key),)

    async def work(client: Client) -> None:
        unload = pb.RepositoryModelUnloadRequest(model_name="digits.denoise")
        await client.call("RepositoryModelUnload", unload, metadata=metadata)
        ready = pb.ModelReadyRequest(name="digits.denoise")
        assert not (await client.call("ModelReady", ready, metadata=metadata)).ready
        load = pb.RepositoryModelLoadRequest(model_name="digits.denoise")
        load.parameters["file:1/model.onnx"].bytes_param = b"x"
        code, _ = await client.status("RepositoryModelLoad", load, metadata=metadata)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        del load.parameters["file:1/model.onnx"]
        await client.call("RepositoryModelLoad", load, metadata=metadata)
        assert (await client.call("ModelReady", ready, metadata=metadata)).ready

    run(models, work, api_keys_file=tmp_path / "keys", enable_model_control=True)


def test_model_control_is_off_by_default(models: Path) -> None:
    async def work(client: Client) -> None:
        for name in ("RepositoryModelLoad", "RepositoryModelUnload"):
            message = getattr(pb, f"{name}Request")(model_name="digits.denoise")
            code, details = await client.status(name, message)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "HOURGLASS_ENABLE_MODEL_CONTROL" in details

    run(models, work)


def test_health_and_reflection(models: Path) -> None:
    async def work(client: Client) -> None:
        check = client.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError):
            await check(health_pb2.HealthCheckRequest(service="other"))
        reflect = client.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        async for answer in reflect(iter([reflection_pb2.ServerReflectionRequest(list_services="")])):
            names = {service.name for service in answer.list_services_response.service}
            assert names >= {"inference.GRPCInferenceService", "grpc.health.v1.Health"}

    run(models, work)


def test_metrics_and_statistics_count_grpc_calls(models: Path) -> None:
    async def work(client: Client) -> None:
        await client.call("ModelInfer", request(IMAGES))
        named = pb.ModelStatisticsRequest(name="digits.denoise")
        (stats,) = (await client.call("ModelStatistics", named)).model_stats
        assert (stats.inference_count, stats.execution_count) == (2, 1)
        assert [(batch.batch_size, batch.compute_infer.count) for batch in stats.batch_stats] == [(2, 1)]

    run(models, work)


def test_stop_waits_for_calls_in_progress(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.engine import operations

    started, permit = asyncio.Event(), asyncio.Event()
    original = operations._run_itemwise

    async def wait(*arguments: Any) -> Any:
        started.set()
        await permit.wait()
        return await original(*arguments)

    async def work(client: Client) -> None:
        monkeypatch.setattr(operations, "_run_itemwise", wait)
        call = asyncio.ensure_future(client.call("ModelInfer", request(IMAGES)))
        await started.wait()
        stopping = asyncio.ensure_future(client.server.stop(20))
        await asyncio.sleep(0.05)
        assert not stopping.done()
        permit.set()
        assert (output(await call) == 255 - IMAGES).all()
        await stopping

    run(models, work)
