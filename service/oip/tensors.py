"""Tensors of requests as arrays, and arrays as tensors of responses. Raw tensors are not copied."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import orjson

from service.errors import InvalidArray, MalformedBody
from service.oip.datatypes import DTYPES
from service.oip.requests import Buffer, InferRequest, InputTensor, RequestedOutput, RequestOptions
from service.types import Array

LENGTH_BYTES = 4  # of the length before each element of a raw BYTES tensor
JSON_KINDS = {"b": "b", "u": "iu", "i": "iu", "f": "iuf"}
"""Kinds of dtypes that numpy gives to lists, by the kind of the tensor's dtype."""


@dataclass(frozen=True, slots=True)
class Port:
    """The input or output of a graph: its name, datatype and shape; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def only_input(request: InferRequest, port: Port) -> InputTensor:
    """Return the input of a request to a graph of one input. Raises InvalidArray if there are others."""
    if len(request.inputs) == 1 and request.inputs[0].name == port.name:
        return request.inputs[0]
    names = [tensor.name for tensor in request.inputs]
    if len(set(names)) < len(names):
        raise InvalidArray("two inputs have the same name")
    shown = ", ".join(name if name.isidentifier() and len(name) <= 40 else "one of another name" for name in names)
    raise InvalidArray(f"the model has one input, {port.name}, and the request has {shown}")


def only_output(request: InferRequest, port: Port) -> RequestedOutput:
    """Return how to send the output of a graph of one output. Raises InvalidArray if the client asks for others."""
    if not request.outputs:
        return RequestedOutput(port.name, request.parameters.binary_output)
    if len(request.outputs) == 1 and request.outputs[0].name == port.name:
        return request.outputs[0]
    names = [output.name for output in request.outputs]
    if len(set(names)) < len(names):
        raise InvalidArray("two outputs have the same name")
    raise InvalidArray(f"the model has one output, {port.name}; leave outputs out, or name only this one")


def to_array(tensor: InputTensor) -> Array:
    """Return a tensor of numbers as an array. Raw data are viewed and not copied. Raises InvalidArray."""
    dtype = DTYPES[tensor.datatype]
    count = prod(tensor.shape)
    if isinstance(tensor.data, list):
        return _from_values(tensor.data, dtype, tensor, count)
    if len(tensor.data) != count * dtype.itemsize:
        raise InvalidArray(
            f"{tensor.name}: shape {list(tensor.shape)} of {tensor.datatype} has {count * dtype.itemsize} bytes, "
            f"but {len(tensor.data)} were sent"
        )
    array = np.frombuffer(tensor.data, dtype).reshape(tensor.shape)
    return array if array.flags.aligned else array.copy()


def _from_values(values: list[Any], dtype: np.dtype[np.generic], tensor: InputTensor, count: int) -> Array:
    """Return the values of a JSON tensor as an array of its shape."""
    try:
        array = np.asarray(values) if values else np.empty(0, dtype)
    except (ValueError, OverflowError) as error:
        raise InvalidArray(f"{tensor.name}: the rows of data have different lengths") from error
    if array.size != count:
        raise InvalidArray(f"{tensor.name}: shape {list(tensor.shape)} has {count} values, but data has {array.size}")
    if array.dtype.kind not in JSON_KINDS[dtype.kind]:
        raise InvalidArray(f"{tensor.name}: data must be numbers of {tensor.datatype}")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    if dtype.kind in "iu" and not (converted == array).all():
        raise InvalidArray(f"{tensor.name}: a number is out of the range of {tensor.datatype}")
    return converted.reshape(tensor.shape)


def to_blobs(tensor: InputTensor, decode_text: Callable[[str], bytes]) -> list[bytes]:
    """Return the elements of a BYTES tensor of shape [N]. `decode_text` decodes the texts of a JSON tensor.

    Raises InvalidArray if the elements do not match the shape.
    """
    data = tensor.data
    blobs = [*_split_elements(data)] if not isinstance(data, list) else [_blob(item, decode_text) for item in data]
    if prod(tensor.shape) != len(blobs) or any(side != 1 for side in tensor.shape[1:]):
        raise InvalidArray(f"{tensor.name}: shape {list(tensor.shape)} must be [N] for N images, not {len(blobs)}")
    return blobs


def _blob(item: object, decode_text: Callable[[str], bytes]) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return decode_text(item)
    raise InvalidArray("data of a BYTES tensor must be a flat list of base64 texts")


def _split_elements(data: Buffer) -> Iterable[bytes]:
    """Yield the elements of a raw BYTES tensor, each after its length as uint32."""
    at = 0
    while at < len(data):
        start = at + LENGTH_BYTES
        size = int.from_bytes(data[at:start], "little")
        if start + size > len(data):
            raise InvalidArray("an element of a BYTES tensor is longer than the tensor; put its length before each")
        yield bytes(data[start : start + size])
        at = start + size


@dataclass(frozen=True, slots=True)
class InferResponse:
    """What a response contains besides its tensor."""

    model_name: str
    model_version: str
    id: str
    output: RequestedOutput
    port: Port
    parameters: dict[str, bool]


@dataclass(frozen=True, slots=True)
class EncodedResponse:
    """A response: its JSON part, and the raw tensor behind it, or None if the tensor is in the JSON part."""

    header: bytes
    tensor: Buffer | None


def raw_bytes(array: Array) -> memoryview:
    """Return the bytes of an array in C order, little-endian, without a copy if it is stored so."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.data.cast("B")


def encode_response(response: InferResponse, array: Array) -> EncodedResponse:
    """Return the response with the output of a graph."""
    if not response.output.binary:
        return EncodedResponse(_header(response, array.shape, {"data": np.ascontiguousarray(array).reshape(-1)}), None)
    tensor = raw_bytes(array)
    if response.id or response.parameters:
        header = _header(response, array.shape, {"parameters": {"binary_data_size": len(tensor)}})
    else:
        header = _cached_header(response.model_name, response.model_version, response.port, array.shape, len(tensor))
    return EncodedResponse(header, tensor)


def _header(response: InferResponse, shape: Sequence[int], content: Mapping[str, Any]) -> bytes:
    """Return the JSON part of a response. `content` are the fields of the output after its name, shape and datatype."""
    document: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        document["id"] = response.id
    if response.parameters:
        document["parameters"] = response.parameters
    port = response.port
    document["outputs"] = [{"name": port.name, "shape": list(shape), "datatype": port.datatype, **content}]
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


@lru_cache(maxsize=256)
def _cached_header(name: str, version: str, port: Port, shape: tuple[int, ...], size: int) -> bytes:
    """Return the JSON part of a response without an id, whose tensor is sent behind it."""
    response = InferResponse(name, version, "", RequestedOutput(port.name, binary=True), port, {})
    return _header(response, shape, {"parameters": {"binary_data_size": size}})


def raw_request(body: Buffer, port: Port, *, images: bool) -> InferRequest:
    """Return the request of a body without a JSON part: one encoded image, or raw numbers of the input.

    N of a tensor of numbers follows from the size. All outputs are sent as binary data. Raises MalformedBody.
    """
    options = RequestOptions(binary_output=True)
    if images:
        return InferRequest("", options, [InputTensor(port.name, "BYTES", [1], [bytes(body)])], [])
    sides: Sequence[int] = port.shape[1:]
    item_bytes = prod(sides) * DTYPES[port.datatype].itemsize
    if -1 in sides or not body or len(body) % item_bytes:
        raise MalformedBody(f"a body without a JSON part must be N times {item_bytes} bytes of {port.datatype}")
    shape = [len(body) // item_bytes, *sides]
    return InferRequest("", options, [InputTensor(port.name, port.datatype, shape, memoryview(body))], [])
