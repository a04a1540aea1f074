"""Requests for inference: the JSON part, the parameters, and the tensors behind the JSON part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.types import StringConstraints

from service.errors import InvalidParameter, MalformedBody
from service.oip.datatypes import Datatype
from service.validation import describe_error, shown

MAX_JSON_BYTES = 8 << 20
"""Largest JSON part. The parser blocks the process, so larger tensors must be sent as binary data."""
MAX_CACHED_BYTES = 512  # largest head of a request that is parsed once and remembered
MAX_DIMENSIONS = 8
MAX_SIDE = (1 << 31) - 1

ShortText = Annotated[str, StringConstraints(max_length=256)]
Value = str | bool | int | float
Parameters = Mapping[str, Value]
Buffer = bytes | memoryview


class Strict(BaseModel):
    """Base of the models of the JSON part: unknown fields and converted types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class InputHeader(Strict):
    """An input in the JSON part. `data` is None if the tensor follows the JSON part."""

    name: ShortText
    datatype: Datatype
    shape: Annotated[list[Annotated[int, Field(ge=0, le=MAX_SIDE)]], Field(min_length=1, max_length=MAX_DIMENSIONS)]
    parameters: dict[str, Value] = {}
    data: list[Any] | None = None


class OutputHeader(Strict):
    """A requested output in the JSON part."""

    name: ShortText
    parameters: dict[str, Value] = {}


class InferHeader(Strict):
    """The JSON part of a request. KServe's client repeats the name of the model, which the path has."""

    model_name: ShortText | None = None
    id: ShortText = ""
    parameters: dict[str, Value] = {}
    inputs: Annotated[list[InputHeader], Field(min_length=1, max_length=16)]
    outputs: Annotated[list[OutputHeader], Field(max_length=16)] | None = None


@dataclass(slots=True)
class InputTensor:
    """An input: its values as nested or flat lists, as raw bytes, or as the elements of a BYTES tensor."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: list[Any] | Buffer


@dataclass(slots=True)
class InferRequest:
    """A request for inference. `outputs` is empty if the client asks for all; `binary` says how to send them then."""

    id: str
    parameters: "RequestOptions"
    inputs: list[InputTensor]
    outputs: "Sequence[RequestedOutput]"
    model_name: str | None = None


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The parameters of a request.

    `priority`: 1 is the highest, 0 the default. `timeout`: microseconds in the queue, 0 for no limit. `strength`: how
    much noise to remove, 0 to 2. `sigma`: standard deviation of the noise in grey levels, 0 to 100. `binary_output`:
    send outputs as binary data. `final_response`: mark the last response of a stream. `removal`: those of `strength`
    and `sigma` that the request has, whatever their values.
    """

    priority: int = 0
    timeout: int = 0
    strength: float = 1.0
    sigma: float | None = None
    binary_output: bool = False
    final_response: bool = False
    removal: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client asks for. `binary`: as raw bytes behind the JSON part."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class InputHead:
    """An input of a request without its raw tensor.

    `values`: those of the head, None if it has none. `size`: the bytes of the raw tensor, None if the head omits it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any] | None
    size: int | None


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its raw tensors: what clients repeat with every request, so that it can be remembered."""

    id: str
    options: RequestOptions
    inputs: tuple[InputHead, ...]
    outputs: tuple[RequestedOutput, ...]
    model_name: str | None = None
    model_version: str = ""


EXPECTED = 'it must be such as {"inputs": [{"name": "...", "shape": [...], "datatype": "...", "data": [...]}]}'
MAX_STRENGTH = 2.0
MAX_SIGMA = 100.0  # grey levels
RESERVED = {"sequence_id": "sequences", "sequence_start": "sequences", "sequence_end": "sequences"}
SHARED_MEMORY = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")


def parse_options(parameters: Parameters) -> RequestOptions:
    """Return the parameters of a request. Raises InvalidParameter if one is unknown or out of range."""
    if not parameters:
        return RequestOptions()
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in ("priority", "timeout"):
            values[name] = parse_integer(name, value)
        elif name == "strength":
            values[name] = _number(name, value, MAX_STRENGTH)
        elif name == "sigma":
            values[name] = _number(name, value, MAX_SIGMA)
        elif name == "binary_data_output":
            values["binary_output"] = _boolean(name, value)
        elif name == "triton_enable_empty_final_response":
            values["final_response"] = _boolean(name, value)
        elif name in RESERVED:
            if value not in (0, False, "", "0"):
                raise InvalidParameter(f"{name}: {RESERVED[name]} are not supported; leave it out")
        else:
            raise _unknown("a request", name, "priority, timeout, strength, sigma and binary_data_output")
    return RequestOptions(**values, removal=tuple(name for name in ("strength", "sigma") if name in values))


def _unknown(owner: str, name: str, known: str) -> InvalidParameter:
    shown = name if name.isidentifier() and len(name) <= 40 else "a parameter"
    if name in SHARED_MEMORY:
        return InvalidParameter(f"{name}: shared memory is not supported; send the tensor in the request")
    return InvalidParameter(f"{shown} is unknown; {owner} takes the parameters {known}")


def parse_integer(name: str, value: Value) -> int:
    """Return a parameter that must be an integer from 0. Raises InvalidParameter."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise InvalidParameter(f"{name}: must be an integer from 0")
    return value


def _number(name: str, value: Value, maximum: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= maximum:
        raise InvalidParameter(f"{name}: must be a number from 0 to {maximum:g}")
    return float(value)


def _boolean(name: str, value: Value) -> bool:
    if not isinstance(value, bool):
        raise InvalidParameter(f"{name}: must be true or false")
    return value


def parse_request(body: Buffer, header_length: int | None) -> InferRequest:
    """Parse a request of a JSON part of `header_length` bytes, or of JSON alone if None, and of raw tensors.

    The tensors are views of the body. Raises MalformedBody or InvalidParameter.
    """
    view = memoryview(body)
    if header_length is None:
        header_length = len(view)
    if header_length > len(view):
        raise MalformedBody(f"Inference-Header-Content-Length is {header_length}, but the body has {len(view)} bytes")
    if header_length > MAX_JSON_BYTES:
        raise MalformedBody(f"the JSON part may have at most {MAX_JSON_BYTES} bytes; send large tensors as binary data")
    text = bytes(view[:header_length])
    head = (_parse_head_cached if header_length <= MAX_CACHED_BYTES else _parse_head)(text)
    at = header_length
    inputs: list[InputTensor] = []
    for tensor in head.inputs:
        if tensor.size is None:
            inputs.append(InputTensor(tensor.name, tensor.datatype, tensor.shape, tensor.values or []))
            continue
        end = at + tensor.size
        if end > len(view):
            raise MalformedBody(f"binary_data_size of {tensor.size} bytes exceeds the rest of the body")
        inputs.append(InputTensor(tensor.name, tensor.datatype, tensor.shape, view[at:end]))
        at = end
    if at < len(view):
        raise MalformedBody(f"{len(view) - at} bytes follow the last tensor; remove them or correct binary_data_size")
    return InferRequest(head.id, head.options, inputs, head.outputs, head.model_name)


def _parse_head(text: bytes) -> RequestHead:
    header = _validate_header(text)
    options = parse_options(header.parameters)
    inputs = [
        InputHead(tensor.name, tensor.datatype, tuple(tensor.shape), tensor.data, _binary_size(tensor))
        for tensor in header.inputs
    ]
    outputs = [_requested_output(output, options) for output in header.outputs or ()]
    return RequestHead(header.id, options, tuple(inputs), tuple(outputs), header.model_name)


def _validate_header(text: bytes) -> InferHeader:
    try:
        return InferHeader.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedBody(f"the JSON part is not valid JSON; {EXPECTED}") from error
        place = ".".join(map(_shown, first["loc"][:4]))
        raise MalformedBody(f"{place or 'the JSON part'}: {describe_error(first)}; {EXPECTED}") from error


def _shown(part: str | int) -> str:
    return str(part) if isinstance(part, int) else shown(part)


_parse_head_cached = lru_cache(maxsize=256)(_parse_head)


def _binary_size(tensor: InputHeader) -> int | None:
    """Return the bytes of a tensor behind the JSON part, or None if its data are in the JSON part."""
    size: int | None = None
    for name, value in tensor.parameters.items():
        if name != "binary_data_size":
            raise _unknown("an input", name, "binary_data_size")
        size = parse_integer(name, value)
    if (size is None) == (tensor.data is None):
        raise MalformedBody("an input needs either data or the parameter binary_data_size")
    return size


def _requested_output(output: OutputHeader, options: RequestOptions) -> RequestedOutput:
    binary = options.binary_output
    for name, value in output.parameters.items():
        if name == "classification":
            if value != 0:
                raise InvalidParameter("classification: the models have no classes; leave it out")
        elif name == "binary_data":
            binary = _boolean(name, value)
        else:
            raise _unknown("an output", name, "binary_data")
    return RequestedOutput(output.name, binary)
