"""The OpenAPI document: its examples run, and responses match its schemas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from pydantic import TypeAdapter
from schemathesis.checks import CHECKS, load_all_checks
from starlette.testclient import TestClient

from service.config import Settings
from service.engine.operations import OPERATIONS
from service.http.schemas import EncodeResponse, ImageResponse, ModelDetail, ModelList, ProblemDocument
from tests.conftest import digit, listening, png
from tests.support.tiny_models import encode_oracle

NO_CHECKS = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    return client.get("/openapi.json").json()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_openapi_examples_get_200(client: TestClient, document: dict[str, Any], operation: str) -> None:
    body = document["paths"][f"/{operation}"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = client.post(f"/{operation}", json=body, headers={"accept": "application/json"})
    assert answer.status_code == 200
    assert "error" not in answer.json()["results"][0]


@pytest.mark.parametrize(
    ("path", "kind"), [("/encode", EncodeResponse), ("/reconstruct", ImageResponse), ("/denoise", ImageResponse)]
)
def test_responses_match_the_schemas(client: TestClient, path: str, kind: type[EncodeResponse | ImageResponse]) -> None:
    files = [("image", png(digit(seed))) for seed in range(3)] + [("image", b"no picture")]
    answer = kind.model_validate_json(client.post(path, files=files).content)
    assert len(answer.results) == 4
    assert (answer.model, answer.version, answer.operation) == ("digits", 1, path[1:])


def test_values_and_problems_match_the_schemas(client: TestClient) -> None:
    vectors = client.post("/reconstruct?model=points", json={"values": [[1, 2, 3]]})
    ImageResponse.model_validate_json(vectors.content)
    codes = {"values": np.repeat(encode_oracle(digit()[None]), 2, 0).tolist()}
    ImageResponse.model_validate_json(client.post("/decode", json=codes).content)
    ProblemDocument.model_validate_json(client.post("/decode", json={}).content)
    ModelList.model_validate_json(client.get("/models").content)
    TypeAdapter(ModelDetail).validate_json(client.get("/models/digits").content)


def test_names_suit_generated_clients(document: dict[str, Any]) -> None:
    """Operations have the names of functions, and bodies are classes that several operations share."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = sorted(operation["operationId"] for operation in operations)
    assert names == sorted([*OPERATIONS, "livez", "readyz", "metrics", "models", "model"])
    bodies = [operation["requestBody"]["content"]["application/json"] for operation in operations[: len(OPERATIONS)]]
    schemas = {option["$ref"] for body in bodies for option in body["schema"].get("anyOf", [body["schema"]])}
    assert schemas == {f"#/components/schemas/{name}" for name in ("ImagesBody", "ValuesBody")}


def test_docs_page_needs_no_network(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for asset in ("static/swagger-ui-bundle.js", "static/swagger-ui.css", "static/favicon.svg"):
        assert asset in page
        assert client.get(f"/{asset}").status_code == 200


def test_documented_error_statuses_are_problems(document: dict[str, Any]) -> None:
    for operation in OPERATIONS:
        responses = document["paths"][f"/{operation}"]["post"]["responses"]
        assert {"200", "400", "404", "406", "409", "413", "415", "422", "500", "503", "504"} <= set(responses)
        for status, response in responses.items():
            if status != "200":
                assert list(response["content"]) == ["application/problem+json"]


def test_generated_requests_get_documented_responses(models: Path) -> None:
    """Send generated valid and invalid requests to every path through a socket."""
    defaults = {f"default_{operation}": "digits" for operation in OPERATIONS}
    tried: set[str] = set()
    load_all_checks()
    # A schema cannot say which bytes are a picture, nor how long a code of the default model is.
    unsayable = [CHECKS.get_one("positive_data_acceptance")]
    with listening(Settings.model_validate({"models_dir": models, "model_watch": "off", **defaults})) as address:
        # schemathesis's own pytest plugin does not know pytest 9; its strategies need none.
        result: Any
        for result in schemathesis.openapi.from_url(f"{address}/openapi.json").get_all_operations():
            operation = result.ok()

            @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(NO_CHECKS))
            @given(case=operation.as_strategy())
            def check(case: Any) -> None:
                tried.add(case.path)
                for name in [name for name in case.headers or {} if name.lower() == "x-request-timeout"]:
                    del case.headers[name]  # a short client timeout correctly gets 504
                case.call_and_validate(excluded_checks=unsayable)

            check()
    assert tried >= {"/encode", "/decode", "/reconstruct", "/denoise", "/models/{name}", "/metrics"}
