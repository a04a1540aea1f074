"""The REST part of the Open Inference Protocol, version 2, as an OpenAPI document.

Written after the text `specification/protocol/inference_rest.md` of github.com/kserve/open-inference-protocol.
Tools cannot use the file `open_inference_rest.yaml` there, because it writes paths as `${MODEL_NAME}`. The schemas of
requests are narrowed to one model of vectors, so that a generated valid request has an answer.
"""

from typing import Any

JSON = "application/json"


def protocol_document(models: list[str], model: str, features: int) -> dict[str, Any]:
    """Return the document for a server with these models, one of which takes and returns vectors FP32 (N, features)."""
    name = {"name": "name", "in": "path", "required": True, "schema": {"enum": models}}
    version = {"name": "version", "in": "path", "required": True, "schema": {"enum": ["1"]}}
    vectors = {"name": "name", "in": "path", "required": True, "schema": {"enum": [model]}}
    paths: dict[str, Any] = {
        "/v2": {"get": _operation("Server metadata", "ServerMetadata")},
        "/v2/health/live": {"get": _operation("Server live")},
        "/v2/health/ready": {"get": _operation("Server ready")},
    }
    for prefix, at in (("", []), ("/versions/{version}", [version])):
        path = f"/v2/models/{{name}}{prefix}"
        paths[path] = {"parameters": [name, *at], "get": _operation("Model metadata", "ModelMetadata")}
        paths[f"{path}/ready"] = {"parameters": [name, *at], "get": _operation("Model ready")}
        body = {"required": True, "content": {JSON: {"schema": _reference("InferenceRequest")}}}
        infer = _operation("Inference", "InferenceResponse") | {"requestBody": body}
        paths[f"{path}/infer"] = {"parameters": [vectors, *at], "post": infer}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Open Inference Protocol", "version": "2.0"},
        "paths": paths,
        "components": {"schemas": _schemas(features)},
    }


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _operation(summary: str, schema: str | None = None) -> dict[str, Any]:
    content = {"content": {JSON: {"schema": _reference(schema)}}} if schema else {}
    error = {"description": "Error", "content": {JSON: {"schema": _reference("Error")}}}
    return {"summary": summary, "responses": {"200": {"description": "OK", **content}, "400": error, "404": error}}


def _schemas(features: int) -> dict[str, Any]:
    text = {"type": "string"}
    integers = {"type": "array", "items": {"type": "integer"}}
    tensor = {"name": text, "datatype": text, "shape": integers}
    output = {**tensor, "parameters": {"type": "object"}, "data": {"type": "array"}}
    chosen = {"type": "array", "minItems": 1, "maxItems": 1, "items": _object({"name": {"const": "out"}}, closed=True)}
    inputs = {"type": "array", "minItems": 1, "maxItems": 1, "items": {"oneOf": _vector_inputs(features)}}
    return {
        "ServerMetadata": _object({"name": text, "version": text, "extensions": {"type": "array", "items": text}}),
        "ModelMetadata": _object(
            {
                "name": text,
                "versions": {"type": "array", "items": text},
                "platform": text,
                "inputs": {"type": "array", "items": _object(tensor)},
                "outputs": {"type": "array", "items": _object(tensor)},
            }
        ),
        "InferenceRequest": _object({"id": text, "inputs": inputs, "outputs": chosen}, ["inputs"], closed=True),
        "InferenceResponse": _object(
            {
                "model_name": text,
                "model_version": text,
                "id": text,
                "parameters": {"type": "object"},
                "outputs": {
                    "type": "array",
                    "minItems": 1,
                    "items": _object(output, ["name", "shape", "datatype", "data"]),
                },
            },
            ["model_name", "outputs"],
        ),
        "Error": _object({"error": {"type": "string", "minLength": 1}}),
    }


def _object(properties: dict[str, Any], required: list[str] | None = None, *, closed: bool = False) -> dict[str, Any]:
    """Return the schema of an object. All properties are required by default; a closed one has no others."""
    names = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": not closed}


def _vector_inputs(features: int) -> list[dict[str, Any]]:
    """Return the schemas of inputs with one and with two vectors, whose data are flat or nested."""
    number = {"type": "number", "minimum": -1000, "maximum": 1000}
    row = {"type": "array", "minItems": features, "maxItems": features, "items": number}
    schemas: list[dict[str, Any]] = []
    for count in (1, 2):
        flat = row | {"minItems": count * features, "maxItems": count * features}
        nested = {"type": "array", "minItems": count, "maxItems": count, "items": row}
        for data in (flat, nested):
            fixed = {"name": {"const": "vector"}, "datatype": {"const": "FP32"}, "shape": {"const": [count, features]}}
            schemas.append(_object({**fixed, "data": data}, closed=True))
    return schemas
