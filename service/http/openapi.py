"""The OpenAPI document of the operations, with examples that run on the models that are loaded, and the /docs page.

Everything the page needs is shipped: it works without a network.
"""

import copy
from typing import Any

import numpy as np
import pybase64
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from service import codec
from service.card import ImageInput, Operation
from service.codec import Picture
from service.engine.model import LoadedModel
from service.engine.operations import OPERATIONS
from service.errors import problem_types
from service.http.endpoint import Endpoint
from service.http.parameters import parameter_documents
from service.http.problems import document_problems
from service.http.schemas import EncodeResponse, ImageResponse, ImagesBody, ProblemDocument, ValuesBody
from service.http.unpack import JSON, NPY
from service.runtime.tensors import to_array
from service.state import State

BINARY_SCHEMA: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
SUMMARIES: dict[Operation, str] = {
    "encode": "Pictures or vectors to codes",
    "decode": "Codes to pictures or vectors",
    "reconstruct": "Through the code and back, with the error and how unusual it is",
    "denoise": "Noisy pictures or vectors to clean ones",
}
DESCRIPTION = """Send a picture as the body, several as `multipart/form-data` or JSON, or arrays as `.npy`;
choose the type of the answer by `Accept` or `format=`. Without `model=` the operation's default model answers.
One failed item of many is a problem in its place; a request of one item fails as a whole."""


class OperationRoute(APIRoute):
    """Documented like any route of FastAPI, answered by the operation's Endpoint itself."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(
            f"/{operation}",
            lambda: None,
            methods=["POST"],
            name=operation,
            operation_id=operation,
            tags=["operations"],
            summary=SUMMARIES[operation],
            description=DESCRIPTION,
            response_model=EncodeResponse if operation == "encode" else ImageResponse,
            responses=_responses(operation),
            openapi_extra={"parameters": parameter_documents(operation), "requestBody": _request_body(operation)},
        )
        self.app = Endpoint(operation)


def _request_body(operation: Operation) -> dict[str, Any]:
    arrays: dict[str, Any] = {NPY: BINARY_SCHEMA}
    if operation == "decode":
        return {"required": True, "content": {JSON: {"schema": ValuesBody.model_json_schema()}, **arrays}}
    body = {"anyOf": [ImagesBody.model_json_schema(), ValuesBody.model_json_schema()]}
    part = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    form = {"type": "object", "properties": {"image": part}, "required": ["image"]}
    pictures = dict.fromkeys(("image/png", "image/jpeg", "image/webp", "application/octet-stream"), BINARY_SCHEMA)
    return {
        "required": True,
        "content": {JSON: {"schema": body}, **pictures, "multipart/form-data": {"schema": form}, **arrays},
    }


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    types = [NPY] if operation == "encode" else ["image/png", "image/jpeg", "image/webp", NPY]
    good = {"description": "The results, in the order of the items", "content": dict.fromkeys(types, BINARY_SCHEMA)}
    return {200: good, **document_problems(problem_types())}


def openapi_schema(app: FastAPI, state: State) -> dict[str, Any]:
    """The OpenAPI document, its JSON examples taken from the probes of the models loaded now."""
    if app.openapi_schema is None:
        base = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = base["components"]["schemas"]
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        for path in base["paths"].values():  # FastAPI's own 422, which is never answered here
            for described in path.values():
                if "HTTPValidationError" in str(described["responses"].get("422")):
                    del described["responses"]["422"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        app.openapi_schema = base
    found = copy.deepcopy(app.openapi_schema)
    if state.api_keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    for operation in OPERATIONS:
        path = found["paths"][f"/{operation}"]["post"]
        model = example_model(state, operation)
        if model is not None:
            path["requestBody"]["content"][JSON]["example"] = request_example(model, operation)
    return found


def example_model(state: State, operation: Operation) -> LoadedModel | None:
    """The default model of an operation, or any that offers it."""
    names = state.store.models_for(operation)
    default = state.settings.default_model(operation)
    name = default if default in names else next(iter(names), None)
    return state.store.snapshot.loaded.get(name) if name else None


def request_example(model: LoadedModel, operation: Operation) -> dict[str, Any]:
    """A JSON body that the model answers: its graph's probe."""
    item = to_array(model.runners[operation].graph.probe.input)[0]
    if item.dtype == np.uint8 and isinstance(model.card.input, ImageInput):
        png = codec.encode(Picture(item, "image/png"), "image/png")
        return {"images": ["data:image/png;base64," + pybase64.b64encode_as_string(png)]}
    return {"values": [np.round(item.astype(np.float64), 4).tolist()]}
