"""Rejects ONNX files that keep weights in other files or use operators that are not part of onnxruntime.

onnxruntime rejects most of these files itself, but it loads sparse weights from any path. The service does not depend
on the `onnx` package, so this module parses the protobuf wire format itself. The field numbers are those of onnx.proto.
"""

from collections.abc import Iterator

from service.errors import ModelRejected

ALLOWED_DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"})
MAX_DEPTH = 16  # of subgraphs, which are attributes of nodes

# Wire types of protobuf.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Field numbers of onnx.proto.
MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
FUNCTION_NODE = 7
NODE_ATTRIBUTE, NODE_DOMAIN = 5, 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
SPARSE_TENSORS = (1, 2)
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14


def check_model(model: bytes, file: str) -> None:
    """Check the content of an ONNX file. `file` is its name in error messages.

    Raises ModelRejected if it is not an ONNX model, keeps weights in other files, or uses operators of other domains.
    """
    try:
        for number, value in _fields(memoryview(model)):
            if number == MODEL_GRAPH:
                _check_graph(value, file, 0)
            elif number == MODEL_FUNCTIONS:
                for function_number, function_value in _fields(value):
                    if function_number == FUNCTION_NODE:
                        _check_node(function_value, file, 0)
    except (IndexError, ValueError) as error:
        raise ModelRejected(f"{file} is not an ONNX model: it is truncated or corrupt") from error


def _check_graph(graph: memoryview, file: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ModelRejected(f"{file} nests more than {MAX_DEPTH} subgraphs")
    for number, value in _fields(graph):
        if number == GRAPH_NODE:
            _check_node(value, file, depth)
        elif number == GRAPH_INITIALIZER:
            _check_tensor(value, file)
        elif number == GRAPH_SPARSE:
            _check_sparse(value, file)


def _check_node(node: memoryview, file: str, depth: int) -> None:
    for number, value in _fields(node):
        if number == NODE_DOMAIN and bytes(value) not in ALLOWED_DOMAINS:
            raise ModelRejected(f"{file} uses operators that are not part of onnxruntime")
        if number == NODE_ATTRIBUTE:
            _check_attribute(value, file, depth)


def _check_attribute(attribute: memoryview, file: str, depth: int) -> None:
    for number, value in _fields(attribute):
        if number in ATTRIBUTE_TENSORS:
            _check_tensor(value, file)
        elif number in ATTRIBUTE_SPARSE:
            _check_sparse(value, file)
        elif number in ATTRIBUTE_GRAPHS:
            _check_graph(value, file, depth + 1)


def _check_sparse(sparse: memoryview, file: str) -> None:
    for number, value in _fields(sparse):
        if number in SPARSE_TENSORS:
            _check_tensor(value, file)


def _check_tensor(tensor: memoryview, file: str) -> None:
    for number, value in _fields(tensor):
        if number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value.nbytes):
            raise ModelRejected(f"{file} stores weights in another file: export it with external_data=False")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the bytes of every field of a protobuf message. A varint of zero has no bytes.

    Raises ValueError or IndexError if the message is invalid.
    """
    offset = 0
    end = len(message)
    while offset < end:
        tag, offset = _varint(message, offset)
        wire_type = tag & 7
        if wire_type == VARINT:
            number, stop = _varint(message, offset)
            value = message[offset:stop] if number else message[:0]
        elif wire_type == BYTES:
            size, offset = _varint(message, offset)
            stop = offset + size
            value = message[offset:stop]
        elif wire_type in (FIXED64, FIXED32):
            stop = offset + (8 if wire_type == FIXED64 else 4)
            value = message[offset:stop]
        else:
            raise ValueError("protobuf groups are not supported")
        if stop > end:
            raise ValueError("the message is truncated")
        yield tag >> 3, value
        offset = stop


def _varint(message: memoryview, offset: int) -> tuple[int, int]:
    """Return the variable-length integer at `offset`, and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[offset]
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset
    raise ValueError("an integer has more than ten bytes")
