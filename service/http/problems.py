"""Problem documents (RFC 9457): problems as responses and in the OpenAPI document."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from service.errors import Problem
from service.types import Headers

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemResponse(NamedTuple):
    """An error response, ready to be sent."""

    status: int
    body: bytes
    headers: Headers


def problem_response(problem: Problem, request_id: str) -> ProblemResponse:
    """Return the response to a request that failed with `problem`."""
    body = orjson.dumps(problem.to_dict(request_id))
    extra = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    return ProblemResponse(problem.status, body, [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), *extra])


def document_problems(problem_types: Iterable[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI response objects of these problems, by status."""
    responses: dict[int | str, dict[str, Any]] = {}
    for problem_type in problem_types:
        titles = responses.get(problem_type.status, {}).get("description", "")
        responses[problem_type.status] = {
            "description": f"{titles}; {problem_type.title}" if titles else problem_type.title,
            "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
    return responses
