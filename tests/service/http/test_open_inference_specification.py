"""The service answers what the specification of the Open Inference Protocol allows, to valid and invalid requests."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from service.config import Settings
from tests.conftest import listening
from tests.support.open_inference import protocol_document
from tests.support.tiny_models import FEATURES

pytestmark = pytest.mark.slow

NO_CHECKS = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@pytest.mark.parametrize("mode", GenerationMode)
def test_answers_follow_the_specification(models: Path, mode: GenerationMode) -> None:
    statuses: dict[str, set[int]] = {}
    load_all_checks()
    # The text demands no authentication, nor that the methods it does not name are refused in a certain way.
    checks = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    ]
    checks += ["positive_data_acceptance" if mode == GenerationMode.POSITIVE else "negative_data_rejection"]
    with listening(Settings.model_validate({"models_dir": models, "model_watch": "off"})) as address:
        names = [model["name"] for model in httpx2.post(f"{address}/v2/repository/index").json()]
        schema = schemathesis.openapi.from_dict(protocol_document(names, "points.reconstruct", FEATURES))
        result: Any
        for result in schema.get_all_operations():
            operation = result.ok()
            if mode == GenerationMode.NEGATIVE and operation.method.upper() != "POST":
                continue  # an invalid path is another path

            @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(NO_CHECKS))
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                response = case.call(base_url=address)
                statuses.setdefault(operation.path, set()).add(response.status_code)  # noqa: B023 - called at once
                case.validate_response(response, checks=[CHECKS.get_one(name) for name in checks])

            check()
    if mode == GenerationMode.POSITIVE:
        assert len(statuses) == 9
        assert set.union(*statuses.values()) == {200}
    else:
        assert len(statuses) == 2
        assert 400 in set.union(*statuses.values())
