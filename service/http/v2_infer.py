"""Requests for inference of the Open Inference Protocol over HTTP: bodies, compression and responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from starlette.types import Receive

from service.engine.admission import BodyReservation
from service.engine.deadline import Deadline
from service.engine.pipeline import LARGE_REQUEST_BYTES, JobGuards, StageExecutor
from service.engine.tensor_inference import TensorAnswer, TensorCall, infer_tensors, input_port, output_port
from service.errors import InvalidParameter, MalformedBody
from service.http.base64_text import decode_text
from service.http.compression import MIN_COMPRESSED_BYTES, accepted_encoding, compress, content_encoding, decompress
from service.http.context import RequestContext
from service.http.disconnect import INLINE_BODY_BYTES, cancel_on_disconnect, read_body
from service.http.media_types import IMAGE_SIGNATURE
from service.http.parameters import client_timeout
from service.oip.requests import Buffer, InferRequest, RequestedOutput, parse_request
from service.oip.tensors import EncodedResponse, InferResponse, encode_response, raw_request
from service.repository.open_inference import ServedModel, check_options
from service.state import State
from service.types import Array, Headers

JSON_TYPE, BINARY_TYPE = b"application/json", b"application/octet-stream"
SIGNATURE_BYTES = 32  # of a body, by which an image is recognized
HEADER_LENGTH = b"inference-header-content-length"


@dataclass(slots=True)
class V2Response:
    """Headers and body of a response. `status` is 0 for that of the context."""

    headers: Headers
    buffers: Sequence[Buffer] = field(default_factory=list[Buffer])
    status: int = 0


async def infer(state: State, context: RequestContext, receive: Receive, served: ServedModel) -> V2Response:
    """Read a request for inference, run it and return the response. Raises a Problem or ClientDisconnect."""
    settings, headers = state.settings, context.headers
    encoding = content_encoding(headers.get(b"content-encoding"))
    timeout = client_timeout(headers)
    with BodyReservation(state.admission) as reservation:
        body = await read_body(receive, headers, settings.max_body_bytes, reservation)
        with Deadline(state.timer, settings.request_timeout, timeout) as deadline:
            executor = StageExecutor(state.pool, inline=not encoding and len(body) <= INLINE_BODY_BYTES)
            if encoding:
                body = await executor.run(decompress, body, encoding, settings.max_body_bytes)
                reservation.add(len(body))
            guards = JobGuards(state.admission, deadline, settings.request_timeout_per_megapixel, state.metrics)
            length = header_length(headers)
            executor.inline = executor.inline or (length or len(body)) <= INLINE_BODY_BYTES
            request = await executor.run(parse_body, body, length, served)
            call = TensorCall(request, served.model, served.operation, settings, decode_text)
            work = infer_tensors(call, guards, executor, partial(_encode, served, request))
            large = len(body) > LARGE_REQUEST_BYTES
            answer: TensorAnswer[EncodedResponse] = await (cancel_on_disconnect(receive, work) if large else work)
            response = await executor.run(render, answer.response, accepted_encoding(headers.get(b"accept-encoding")))
    context.record_job(answer.job)
    if answer.job.timings:
        response.headers.append((b"server-timing", answer.job.timings.header()))
    return response


def header_length(headers: Mapping[bytes, bytes]) -> int | None:
    """Return the bytes of the JSON part, or None if the whole body is JSON. Raises InvalidParameter."""
    text = headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 12:
        raise InvalidParameter("Inference-Header-Content-Length: must be the number of bytes of the JSON part")
    return int(text)


def parse_body(body: Buffer, length: int | None, served: ServedModel) -> InferRequest:
    """Return the request of a body. Raises MalformedBody, InvalidParameter or InvalidArray."""
    if length == 0:
        return raw_request(body, input_port(served.model, served.operation), images=served.takes_images)
    if length is None and IMAGE_SIGNATURE.match(bytes(body[:SIGNATURE_BYTES])):
        raise MalformedBody(_describe_image(served))
    request = parse_request(body, length)
    check_options(served, request.parameters)
    if request.model_name not in (None, served.name):
        raise InvalidParameter("model_name: is not that of the path; leave it out")
    return request


def _describe_image(served: ServedModel) -> str:
    """Return what to send in place of an image as the body."""
    elsewhere = f"send an image as it is to /{served.operation}?model={served.model.card.name}"
    if not served.takes_images:
        return f"the body is an image, and {served.name} takes no images; send JSON with inputs"
    name = input_port(served.model, served.operation).name
    tensor = f'{{"name": "{name}", "shape": [1], "datatype": "BYTES", "data": ["BASE64"]}}'
    return f'the body is an image, not JSON such as {{"inputs": [{tensor}]}}; {elsewhere}'


def _encode(served: ServedModel, request: InferRequest, output: RequestedOutput, array: Array) -> EncodedResponse:
    port = output_port(served.model, served.operation)
    response = InferResponse(served.name, served.version, request.id, output, port, {})
    return encode_response(response, array)


def render(encoded: EncodedResponse, encoding: str) -> V2Response:
    """Return the response of an encoded result, compressed if the client accepts an encoding and it is large."""
    buffers = [encoded.header] if encoded.tensor is None else [encoded.header, encoded.tensor]
    headers = [(b"content-type", JSON_TYPE if encoded.tensor is None else BINARY_TYPE), (b"vary", b"Accept-Encoding")]
    if encoded.tensor is not None:
        headers.append((HEADER_LENGTH, b"%d" % len(encoded.header)))
    if encoding and sum(map(len, buffers)) >= MIN_COMPRESSED_BYTES:
        headers.append((b"content-encoding", encoding.encode()))
        buffers = [compress(b"".join(buffers), encoding)]
    return V2Response(headers, buffers)
