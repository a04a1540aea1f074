"""Problem documents (RFC 9457): a problem as a response, and as documentation."""

from collections.abc import Iterable
from typing import Any

import orjson

from service.errors import Problem


def problem_response(problem: Problem, request_id: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers of a problem."""
    body = orjson.dumps(problem.to_dict(request_id))
    extra = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    return problem.status, body, [(b"content-type", b"application/problem+json"), *extra]


PROBLEM_MEDIA_TYPE = "application/problem+json"


def document_problems(kinds: Iterable[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """Documentation of the ways to fail, by status."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        said = found.get(kind.status, {}).get("description", "")
        found[kind.status] = {
            "description": f"{said}; {kind.title}" if said else kind.title,
            "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
    return found
