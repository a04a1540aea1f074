"""Requests and responses for inference as protocol buffers. Raw tensors are neither parsed nor copied into messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from service.errors import InvalidArray, InvalidParameter, MalformedBody
from service.grpc import open_inference_pb2 as pb
from service.oip.datatypes import DTYPES
from service.oip.requests import (
    MAX_CACHED_BYTES,
    MAX_DIMENSIONS,
    MAX_JSON_BYTES,
    MAX_SIDE,
    InferRequest,
    InputHead,
    InputTensor,
    RequestedOutput,
    RequestHead,
    Value,
    parse_integer,
    parse_options,
)
from service.oip.tensors import InferResponse, raw_bytes
from service.types import Array

RAW_INPUT_TAG = 7 << 3 | 2  # field 7, raw_input_contents, of bytes
RAW_OUTPUT_TAG = b"\x32"  # field 6, raw_output_contents, of bytes
INFER_RESPONSE_TAG = b"\x12"  # field 2 of ModelStreamInferResponse
FIXED_BYTES = {1: 8, 5: 4}  # sizes of the wire types of fixed length
VARINT, LENGTH_DELIMITED = 0, 2
VARINT_SHIFTS = range(0, 70, 7)  # bits before each byte of a number, of which there are at most ten
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of InferTensorContents of each datatype. FP16 has none and must be raw."""


class WireMessage(NamedTuple):
    """A serialized message without its raw tensors, and the raw tensors as views."""

    head: bytes
    raw: list[memoryview]


@dataclass(frozen=True, slots=True)
class GrpcRequest:
    """A request for inference, and the model that it names."""

    model_name: str
    model_version: str
    request: InferRequest


def parse_infer_request(data: bytes) -> GrpcRequest:
    """Parse a serialized ModelInferRequest. Raises MalformedBody, InvalidArray or InvalidParameter."""
    message = split_raw(data)
    if len(message.head) > MAX_JSON_BYTES:
        raise MalformedBody(f"contents may have at most {MAX_JSON_BYTES} bytes; send raw_input_contents")
    cacheable = message.raw and len(message.head) <= MAX_CACHED_BYTES
    head = (_parse_head_cached if cacheable else _parse_head)(message.head)
    if message.raw and len(message.raw) != len(head.inputs):
        raise MalformedBody("raw_input_contents must have one entry for each input")
    inputs = [_input(tensor, message.raw[at] if message.raw else None) for at, tensor in enumerate(head.inputs)]
    request = InferRequest(head.id, head.options, inputs, head.outputs)
    return GrpcRequest(head.model_name or "", head.model_version, request)


def split_raw(data: bytes) -> WireMessage:
    """Separate the raw tensors from the other fields of a ModelInferRequest. Raises MalformedBody."""
    view = memoryview(data)
    raw: list[memoryview] = []
    others: list[memoryview] = []
    at = 0
    while at < len(data):
        tag, start = _read_varint(data, at)
        kind = tag & 7
        if kind == LENGTH_DELIMITED:
            length, start = _read_varint(data, start)
            end = start + length
        elif kind == VARINT:
            _, end = _read_varint(data, start)
        elif kind in FIXED_BYTES:
            end = start + FIXED_BYTES[kind]
        else:
            raise MalformedBody("the message is not a ModelInferRequest")
        if end > len(data):
            raise MalformedBody("the message is cut off")
        if tag == RAW_INPUT_TAG:
            raw.append(view[start:end])
        else:
            others.append(view[at:end])
        at = end
    return WireMessage(b"".join(others), raw)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number on the wire, and the position behind it. Raises MalformedBody."""
    value = 0
    for shift, byte in zip(VARINT_SHIFTS, data[at : at + len(VARINT_SHIFTS)], strict=False):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + shift // 7 + 1
    raise MalformedBody("the message is cut off or has a number of too many bytes")


def _parse_head(data: bytes) -> RequestHead:
    try:
        message = pb.ModelInferRequest.FromString(data)
    except DecodeError as error:
        raise MalformedBody("the message is not a ModelInferRequest") from error
    if len(message.id) > 256:
        raise InvalidParameter("id: may have at most 256 characters")
    return RequestHead(
        message.id,
        parse_options(values_of(message.parameters)),
        tuple(_input_head(tensor) for tensor in message.inputs),
        tuple(_output(output) for output in message.outputs),
        message.model_name,
        message.model_version,
    )


_parse_head_cached = lru_cache(maxsize=256)(_parse_head)


def values_of(parameters: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of parameters by name."""
    return {
        name: getattr(parameter, parameter.WhichOneof("parameter_choice") or "string_param")
        for name, parameter in parameters.items()
    }


def _input_head(tensor: pb.ModelInferRequest.InferInputTensor) -> InputHead:
    if tensor.datatype not in DTYPES and tensor.datatype != "BYTES":
        raise InvalidArray("datatype: must be BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES")
    if not 1 <= len(tensor.shape) <= MAX_DIMENSIONS or not all(0 <= side <= MAX_SIDE for side in tensor.shape):
        raise InvalidArray(f"shape: must have 1 to {MAX_DIMENSIONS} sides, from 0 to {MAX_SIDE}")
    parameters = values_of(tensor.parameters)
    if set(parameters) - {"binary_data_size"}:
        raise InvalidParameter("parameters of an input: only binary_data_size is known; send tensors in the message")
    size = parse_integer("binary_data_size", parameters["binary_data_size"]) if parameters else None
    values: list[Any] | None = None
    if tensor.HasField("contents"):
        if tensor.datatype not in CONTENTS:
            raise InvalidArray(f"{tensor.datatype} has no typed contents; send raw_input_contents")
        values = list(getattr(tensor.contents, CONTENTS[tensor.datatype]))
    return InputHead(tensor.name, tensor.datatype, tuple(tensor.shape), values, size)


def _output(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> RequestedOutput:
    for name, value in values_of(output.parameters).items():
        if name == "classification" and value:
            raise InvalidParameter("classification: the models have no classes; leave it out")
        if name not in ("classification", "binary_data"):
            raise InvalidParameter("parameters of an output: only binary_data is known")
    return RequestedOutput(output.name, binary=True)


def _input(tensor: InputHead, raw: memoryview | None) -> InputTensor:
    if raw is None:
        return InputTensor(tensor.name, tensor.datatype, tensor.shape, tensor.values or [])
    if tensor.values is not None:
        raise MalformedBody("an input has contents, and the message has raw_input_contents; send one of them")
    if tensor.size not in (None, len(raw)):
        raise InvalidArray("binary_data_size: is not the size of the tensor in raw_input_contents")
    return InputTensor(tensor.name, tensor.datatype, tensor.shape, raw)


def serialize_response(response: InferResponse, array: Array) -> list[bytes | memoryview]:
    """Return the parts of a serialized ModelInferResponse; the tensor is a view of the array if it is in C order."""
    tensor = raw_bytes(array)
    names = response.model_name, response.model_version, response.id
    parameters = tuple(response.parameters.items())
    port = response.port
    return [_response_head(names, parameters, (port.name, port.datatype), array.shape, len(tensor)), tensor]


@lru_cache(maxsize=256)
def _response_head(
    names: tuple[str, str, str],
    parameters: tuple[tuple[str, bool], ...],
    port: tuple[str, str],
    shape: Sequence[int],
    nbytes: int,
) -> bytes:
    """Return a ModelInferResponse up to the bytes of its tensor, which it ends with.

    `names`: model, version, id. `port`: name and datatype. `nbytes`: size of the tensor.
    """
    message = pb.ModelInferResponse(model_name=names[0], model_version=names[1], id=names[2])
    for name, value in parameters:
        message.parameters[name].bool_param = value
    message.outputs.add(name=port[0], datatype=port[1], shape=shape)
    return message.SerializeToString() + RAW_OUTPUT_TAG + encode_varint(nbytes)


def encode_varint(value: int) -> bytes:
    """Return a number as it is on the wire."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def stream_response(parts: list[bytes | memoryview]) -> bytes:
    """Return a serialized ModelStreamInferResponse with a response of these parts."""
    return b"".join([INFER_RESPONSE_TAG, encode_varint(sum(map(len, parts))), *parts])


def stream_error(detail: str, request_id: str) -> bytes:
    """Return a serialized ModelStreamInferResponse with an error and the id of the request."""
    response = pb.ModelInferResponse(id=request_id)
    return pb.ModelStreamInferResponse(error_message=detail, infer_response=response).SerializeToString()
