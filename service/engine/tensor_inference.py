"""Runs requests of the Open Inference Protocol: tensors are checked or decoded, run, and encoded inside one slot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from service.card import Card, ImageInput, Operation
from service.codec import LazyPicture
from service.config import Settings
from service.engine.array_checks import validate_array
from service.engine.images import open_picture, preprocess, stack_rows
from service.engine.model import LoadedModel
from service.engine.operations import InferenceResult
from service.engine.pipeline import Job, JobGuards, StageExecutor, admit, infer
from service.engine.queue import DEFAULT_PRIORITY, LOWEST_PRIORITY, QueueOptions
from service.engine.strength import DEFAULT_REMOVAL, Removal, check_removal
from service.errors import InvalidArray, InvalidParameter, Problem, TooManyItems
from service.oip.datatypes import GRAPH_DATATYPES
from service.oip.requests import InferRequest, InputTensor, RequestedOutput
from service.oip.tensors import Port, only_input, only_output, to_array, to_blobs
from service.runtime.session import TensorSpec
from service.types import Array

T = TypeVar("T")

INLINE_TENSOR_BYTES = 1 << 20
"""Largest tensor that is checked on the event loop: at most one pass over it looks for values that are not finite."""
INLINE_IMAGE_BYTES = 64 << 10
"""Largest sum of encoded images that are decoded on the event loop."""


@dataclass(slots=True)
class TensorCall:
    """A request for inference, the model that answers it, and how to decode base64 texts of images in JSON.

    `idle_turns`: as in `QueueOptions`.
    """

    request: InferRequest
    model: LoadedModel
    operation: Operation
    settings: Settings
    decode_text: Callable[[str], bytes]
    idle_turns: int = 0

    @property
    def takes_images(self) -> bool:
        """Whether the input of the graph is an image."""
        return takes_images(self.model.card, self.operation)


@dataclass(slots=True)
class TensorInput:
    """A checked input: an array, or encoded images of which only the header is read."""

    array: Array | None
    images: Sequence[LazyPicture]
    decoded_bytes: int

    def __len__(self) -> int:
        return len(self.images) if self.array is None else len(self.array)


@dataclass(slots=True)
class TensorAnswer(Generic[T]):
    """The encoded response, and the job with its timings."""

    response: T
    job: Job


def takes_images(card: Card, operation: Operation) -> bool:
    """Return whether the input of an operation is an image."""
    return isinstance(card.input, ImageInput) and operation != "decode"


def input_port(model: LoadedModel, operation: Operation) -> Port:
    """Return the input of a graph as the protocol describes it."""
    return _port(model.runners[operation].session.input)


def output_port(model: LoadedModel, operation: Operation) -> Port:
    """Return the output of a graph as the protocol describes it."""
    return _port(model.runners[operation].session.output)


@lru_cache(maxsize=256)
def _port(spec: TensorSpec) -> Port:
    shape = tuple(-1 if side is None else side for side in spec.shape)
    return Port(spec.name, GRAPH_DATATYPES[spec.dtype], shape)


def queue_options(request: InferRequest, idle_turns: int) -> QueueOptions:
    """Return how a request waits. Priority 0 is the default, and all from 3 on are the lowest."""
    options = request.parameters
    priority = min(options.priority, LOWEST_PRIORITY) if options.priority else DEFAULT_PRIORITY
    return QueueOptions(priority, options.timeout / 1e6 if options.timeout else None, idle_turns)


async def infer_tensors(
    call: TensorCall, guards: JobGuards, executor: StageExecutor, encode: Callable[[RequestedOutput, Array], T]
) -> TensorAnswer[T]:
    """Run a request and encode its response. Raises a 4xx or 5xx Problem; one failed item fails the request."""
    request, model, operation = call.request, call.model, call.operation
    removal = Removal(request.parameters.strength, request.parameters.sigma)
    if removal != DEFAULT_REMOVAL and operation != "denoise":
        name = "strength" if removal.sigma is None else "sigma"
        raise InvalidParameter(f"{name}: only denoise removes noise, and not {operation}; leave it out")
    check_removal(removal, model.card)
    tensor = only_input(request, input_port(model, operation))
    output = only_output(request, output_port(model, operation))
    job = Job(model, operation, 0, 0, removal, queue_options(request, call.idle_turns))
    executor.inline = is_cheap(tensor)
    inputs = await executor.run(check_input, tensor, call)
    job.items, job.decoded_bytes = len(inputs), inputs.decoded_bytes
    with admit(job, guards):
        arrays = await executor.run(decode_input, inputs, call)
        executor.max_output_bytes = INLINE_TENSOR_BYTES
        result = await infer(job, arrays, executor)
        response = await executor.run(lambda: encode(output, stack_outputs(result)))
    return TensorAnswer(response, job)


def is_cheap(tensor: InputTensor) -> bool:
    """Return whether checking and decoding a tensor takes less than a millisecond."""
    if not isinstance(tensor.data, list):
        return len(tensor.data) <= (INLINE_IMAGE_BYTES if tensor.datatype == "BYTES" else INLINE_TENSOR_BYTES)
    if tensor.datatype != "BYTES":
        return True  # the parser of JSON has blocked for longer
    return sum(len(item) for item in tensor.data if isinstance(item, str | bytes)) <= INLINE_IMAGE_BYTES


def check_input(tensor: InputTensor, call: TensorCall) -> TensorInput:
    """Check and measure an input without decoding images. Raises a 4xx Problem."""
    card, settings = call.model.card, call.settings
    if tensor.shape and tensor.shape[0] > settings.max_items:
        raise TooManyItems(f"a request may have at most {settings.max_items} items")
    if tensor.datatype != "BYTES":
        array = validate_array(to_array(tensor), card, call.operation)
        inputs = TensorInput(array, (), array.nbytes)
    elif not call.takes_images:
        raise InvalidArray(f"{tensor.name}: the input is not an image, so its datatype must not be BYTES")
    else:
        images = [open_picture(blob, card, settings) for blob in to_blobs(tensor, call.decode_text)]
        if card.any_size and len({(image.width, image.height) for image in images}) > 1:
            raise InvalidArray("images of several sizes do not fit into one tensor; send one request for each")
        inputs = TensorInput(None, images, sum(image.width * image.height * 3 for image in images))
    if not len(inputs):
        raise InvalidArray(f"{tensor.name}: the batch is empty; send at least one item")
    return inputs


def decode_input(inputs: TensorInput, call: TensorCall) -> list[Array]:
    """Return the arrays (N first) of an input. Raises the Problem of an image that cannot be decoded."""
    if inputs.array is not None:
        return [inputs.array]
    rows = [preprocess(image.decode(), call.model.card, call.operation, call.settings) for image in inputs.images]
    arrays = stack_rows(rows)
    if len(arrays) > 1:
        raise InvalidArray("images of several sizes do not fit into one tensor; send one request for each")
    return arrays


def stack_outputs(result: InferenceResult) -> Array:
    """Return all outputs as one array, N first. Raises the Problem of the first item that failed."""
    if result.batch_result is not None:
        return result.batch_result.outputs
    outputs: list[Array] = []
    for output in result.outputs:
        if isinstance(output, Problem):
            raise output
        outputs.append(output)
    return outputs[0][np.newaxis] if len(outputs) == 1 else np.stack(outputs)
