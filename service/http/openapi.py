"""The OpenAPI document, with request examples that work on the loaded models."""

import copy
from typing import Any

import numpy as np
import pybase64
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service import codec
from service.card import ImageInput, Operation
from service.codec import Picture
from service.engine.model import LoadedModel
from service.engine.operations import OPERATIONS
from service.errors import problem_types
from service.http.endpoint import Endpoint
from service.http.forms import FILE_FIELDS
from service.http.media_types import BITSTREAM, JSON, MULTIPART, NPY
from service.http.parameters import parameter_documents
from service.http.problems import document_problems
from service.http.schemas import EncodeResponse, ImageResponse, ImagesBody, ProblemDocument, ValuesBody
from service.runtime.tensors import to_array
from service.state import State

BINARY_SCHEMA: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
COMPONENTS = (ImagesBody, ValuesBody, ProblemDocument)
"""Schemas that the paths refer to by name, so that a generated client has one class for each."""
SUMMARIES: dict[Operation, str] = {
    "encode": "Encode images or vectors to codes",
    "decode": "Decode codes to images or vectors",
    "reconstruct": "Encode and decode images or vectors, and report the reconstruction error",
    "denoise": "Remove noise from images or vectors",
}
COMMON_DESCRIPTION = """Choose the type of the response by `Accept` or `format=`. Without `model=` the default model
of the operation is used. If one of several items fails, its result is an error. A request with a single item fails as a
whole."""
DESCRIPTION = f"""Send one image as the body, several images as `multipart/form-data` or JSON, or arrays as `.npy`.
{COMMON_DESCRIPTION}"""
DECODE_DESCRIPTION = f"""Send codes as JSON or `.npy`, or one code as `{BITSTREAM}`.
{COMMON_DESCRIPTION}"""


class OperationRoute(APIRoute):
    """A FastAPI route for the OpenAPI document; requests go directly to the Endpoint of the operation."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(
            f"/{operation}",
            lambda: None,
            methods=["POST"],
            name=operation,
            operation_id=operation,
            tags=["operations"],
            summary=SUMMARIES[operation],
            description=DECODE_DESCRIPTION if operation == "decode" else DESCRIPTION,
            response_model=EncodeResponse if operation == "encode" else ImageResponse,
            responses=_responses(operation),
            openapi_extra={"parameters": parameter_documents(operation), "requestBody": _request_body(operation)},
        )
        self.app = Endpoint(operation)


def _request_body(operation: Operation) -> dict[str, Any]:
    arrays: dict[str, Any] = {NPY: BINARY_SCHEMA}
    if operation == "decode":
        arrays[BITSTREAM] = BINARY_SCHEMA
        return {"required": True, "content": {JSON: {"schema": _reference(ValuesBody)}, **arrays}}
    body = {"anyOf": [_reference(ImagesBody), _reference(ValuesBody)]}
    part = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    fields = {
        document["name"]: {**document["schema"], "description": document["description"]}
        for document in parameter_documents(operation)
        if document["in"] == "query"
    }
    names = f"{FILE_FIELDS[0]} may also be called {', '.join(FILE_FIELDS[1:])}; other fields are the query parameters"
    form = {"type": "object", "description": names, "properties": {"image": part, **fields}, "required": ["image"]}
    images = dict.fromkeys(("image/png", "image/jpeg", "image/webp", "application/octet-stream"), BINARY_SCHEMA)
    return {
        "required": True,
        "content": {JSON: {"schema": body}, **images, MULTIPART: {"schema": form}, **arrays},
    }


def _reference(schema: type[BaseModel]) -> dict[str, Any]:
    """Return a reference to a schema of COMPONENTS."""
    return {"$ref": f"#/components/schemas/{schema.__name__}"}


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    types = [NPY, BITSTREAM] if operation == "encode" else ["image/png", "image/jpeg", "image/webp", NPY]
    success = {"description": "The results, in the order of the items", "content": dict.fromkeys(types, BINARY_SCHEMA)}
    return {200: success, **document_problems(problem_types())}


def openapi_schema(app: FastAPI, state: State) -> dict[str, Any]:
    """Return the OpenAPI document, with JSON examples from the probes of the models loaded now."""
    if app.openapi_schema is None:
        base = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = base["components"]["schemas"]
        schemas |= {schema.__name__: schema.model_json_schema() for schema in COMPONENTS}
        for path in base["paths"].values():  # FastAPI adds a 422 response that this service never sends
            for operation_object in path.values():
                if "HTTPValidationError" in str(operation_object["responses"].get("422")):
                    del operation_object["responses"]["422"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        app.openapi_schema = base
    document = copy.deepcopy(app.openapi_schema)
    if state.api_keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    for operation in OPERATIONS:
        path = document["paths"][f"/{operation}"]["post"]
        model = example_model(state, operation)
        if model is not None:
            path["requestBody"]["content"][JSON]["example"] = request_example(model, operation)
    return document


def example_model(state: State, operation: Operation) -> LoadedModel | None:
    """Return the default model of an operation, or else any model that supports it."""
    names = state.store.models_for(operation)
    default = state.store.default_model(operation, state.settings)
    name = default if default in names else next(iter(names), None)
    return state.store.snapshot.loaded.get(name) if name else None


def request_example(model: LoadedModel, operation: Operation) -> dict[str, Any]:
    """Return a valid JSON body for the model: the probe of its graph."""
    item = to_array(model.runners[operation].graph.probe.input)[0]
    if item.dtype == np.uint8 and isinstance(model.card.input, ImageInput):
        png = codec.encode(Picture(item, "image/png"), "image/png")
        return {"images": ["data:image/png;base64," + pybase64.b64encode_as_string(png)]}
    return {"values": [np.round(item.astype(np.float64), 4).tolist()]}
