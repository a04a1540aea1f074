"""What an ONNX file may not hold: weights in other files, operators that onnxruntime does not come with.

Reads protobuf's wire format as far as that needs, since the service does not load `onnx`: fields' numbers are those of
onnx.proto. onnxruntime itself refuses most of it, but reads sparse weights from wherever the file says.
"""

from collections.abc import Iterator

from service.errors import ModelRejected

ALLOWED_DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"})
MAX_DEPTH = 16  # graphs within attributes of nodes of graphs
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
FUNCTION_NODE = 7
NODE_ATTRIBUTE, NODE_DOMAIN = 5, 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
SPARSE_TENSORS = (1, 2)
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14


def check_model(model: bytes, file: str) -> None:
    """Raises ModelRefused where the file is no ONNX model, or holds what none may."""
    try:
        for number, value in _fields(memoryview(model)):
            if number == MODEL_GRAPH:
                _check_graph(value, file, 0)
            elif number == MODEL_FUNCTIONS:
                for inner, part in _fields(value):
                    if inner == FUNCTION_NODE:
                        _check_node(part, file, 0)
    except (IndexError, ValueError) as error:
        raise ModelRejected(f"{file} is no ONNX model: it is cut off or broken") from error


def _check_graph(graph: memoryview, file: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ModelRejected(f"{file} holds graphs within graphs within graphs")
    for number, value in _fields(graph):
        if number == GRAPH_NODE:
            _check_node(value, file, depth)
        elif number == GRAPH_INITIALIZER:
            _check_tensor(value, file)
        elif number == GRAPH_SPARSE:
            _check_sparse(value, file)


def _check_node(node: memoryview, file: str, depth: int) -> None:
    for number, attribute in _fields(node):
        if number == NODE_DOMAIN and bytes(attribute) not in ALLOWED_DOMAINS:
            raise ModelRejected(f"{file} uses operators that onnxruntime does not come with")
        if number != NODE_ATTRIBUTE:
            continue
        for kind, value in _fields(attribute):
            if kind in ATTRIBUTE_TENSORS:
                _check_tensor(value, file)
            elif kind in ATTRIBUTE_SPARSE:
                _check_sparse(value, file)
            elif kind in ATTRIBUTE_GRAPHS:
                _check_graph(value, file, depth + 1)


def _check_sparse(sparse: memoryview, file: str) -> None:
    for number, value in _fields(sparse):
        if number in SPARSE_TENSORS:
            _check_tensor(value, file)


def _check_tensor(tensor: memoryview, file: str) -> None:
    for number, value in _fields(tensor):
        if number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value.nbytes):
            raise ModelRejected(f"{file} keeps weights in another file: export it with external_data=False")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of every field; of a number that is zero none. Raises ValueError or IndexError on nonsense."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == VARINT:
            value, after = _varint(message, at)
            found = message[at:after] if value else message[:0]
        elif kind == BYTES:
            size, at = _varint(message, at)
            after = at + size
            found = message[at:after]
        elif kind in (FIXED64, FIXED32):
            after = at + (8 if kind == FIXED64 else 4)
            found = message[at:after]
        else:
            raise ValueError("groups are of another time")
        if after > end:
            raise ValueError("cut off")
        yield tag >> 3, found
        at = after


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")
