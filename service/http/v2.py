"""The Open Inference Protocol, version 2, over HTTP: paths, methods and error responses.

`v2_infer` runs requests for inference. All documents are those of `service.repository.open_inference`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import Receive, Scope, Send

from service.engine.admission import BodyReservation
from service.errors import (
    Forbidden,
    InternalError,
    InvalidParameter,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    Problem,
)
from service.http.context import RequestContext, create_context, get_state, identity_headers, send_response
from service.http.disconnect import ClientDisconnect, read_body
from service.http.problems import ProblemResponse
from service.http.v2_infer import JSON_TYPE, V2Response, infer
from service.oip.names import split_name
from service.repository import open_inference
from service.repository.open_inference import find_model
from service.state import State

log = structlog.get_logger()

MODEL = r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?"
MAX_JOINED_BYTES = 64 << 10  # response up to which the buffers are joined and sent at once
MAX_CACHED_PATH = 256  # longer paths are matched anew: a client could fill the memory with them
STATUSES = {406: 400, 409: 400, 413: 400, 415: 400, 422: 400, 504: 503}
"""Triton has one status for invalid requests, and one for services that are unavailable or too slow."""


@dataclass(slots=True)
class V2Call:
    """A request to a path of the protocol, and the named parts of its path."""

    state: State
    context: RequestContext
    scope: Scope
    receive: Receive
    parts: Mapping[str, str] = field(default_factory=dict[str, str])


Handler = Callable[[V2Call], Awaitable[V2Response]]


def is_v2(path: str) -> bool:
    """Return whether a path is one of the protocol."""
    return path.startswith("/v2/") or path == "/v2"


def authorization_path(path: str) -> str:
    """Return the path for which a key is needed: that of the operation, for paths of a model."""
    match = re.match(MODEL, path)
    operation = split_name(match["name"]).operation if match else None
    return f"/{operation}" if operation else path


def error_response(problem: Problem, request_id: str) -> ProblemResponse:  # noqa: ARG001 - as problem_response
    """Return the response to a request that failed: `{"error": "..."}` with the status code of Triton."""
    headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    body = orjson.dumps({"error": problem.detail})
    status = STATUSES.get(problem.status, problem.status)
    return ProblemResponse(status, body, [(b"content-type", JSON_TYPE), *headers])


class OpenInference:
    """All paths of the protocol as one ASGI callable."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope.get("context") or create_context(scope)
        context.protocol, context.status = "v2", 499  # the status if the client disconnects
        try:
            response = await handle(V2Call(get_state(scope), context, scope, receive))
            context.status = 200
        except ClientDisconnect:
            return
        except Problem as problem:
            context.rejection = problem.type
            context.status, body, headers = error_response(problem.without_traceback(), context.id)
            response = V2Response(headers, [body])
        except Exception:  # clients learn nothing about internal errors but the request id
            log.exception("request_failed", id=context.id, path=context.route)
            problem = InternalError(f"internal error; quote the id {context.id} when reporting this")
            context.rejection = problem.type
            context.status, body, headers = error_response(problem, context.id)
            response = V2Response(headers, [body])
        await send_buffers(context, send, response)


async def send_buffers(context: RequestContext, send: Send, response: V2Response) -> None:
    """Send a response. Its buffers are joined only if they are small, when a message costs more than a copy."""
    headers, buffers = response.headers, response.buffers
    context.status = response.status or context.status
    size = sum(map(len, buffers))
    if size <= MAX_JOINED_BYTES:
        await send_response(context, send, b"".join(buffers), headers)
        return
    headers += identity_headers(context)
    headers.append((b"content-length", b"%d" % size))
    await send({"type": "http.response.start", "status": context.status, "headers": headers})
    last = len(buffers) - 1
    for number, buffer in enumerate(buffers):
        await send({"type": "http.response.body", "body": buffer, "more_body": number < last})


async def handle(call: V2Call) -> V2Response:
    """Find the handler of a path and call it. Raises NotFound or MethodNotAllowed."""
    path = call.scope["path"].removeprefix(call.scope.get("root_path", "")).rstrip("/")
    route_match = _match_cached(path) if len(path) <= MAX_CACHED_PATH else _match(path)
    if route_match is None:
        raise NotFound("there is no such path; GET /v2 describes the server")
    route, call.parts = route_match
    call.context.route = route.path
    method = "GET" if call.scope["method"] == "HEAD" else call.scope["method"]
    if method == "POST" == route.method and call.scope["query_string"]:
        raise InvalidParameter(
            "this path takes no query parameters; the parameters of a request are in its body: "
            '{"parameters": {"strength": 0.5}, "inputs": ...}, and priority, timeout, sigma and binary_data_output'
        )
    if method == route.method:
        return await route.handler(call)
    allowed = "GET, HEAD, OPTIONS" if route.method == "GET" else f"{route.method}, OPTIONS"
    if method == "OPTIONS":
        return V2Response([(b"allow", allowed.encode())], [b""], status=204)
    raise MethodNotAllowed(f"send {route.method}", headers={"allow": allowed})


def _json(document: object, status: int = 0) -> V2Response:
    return V2Response([(b"content-type", JSON_TYPE)], [orjson.dumps(document)], status=status)


async def server_metadata(call: V2Call) -> V2Response:
    """Describe the server."""
    return _json(open_inference.server_metadata(version("hourglass"), call.state.settings))


async def live(call: V2Call) -> V2Response:
    """Report whether the process works, as `/livez` does."""
    healthy = not (call.state.watchdog and call.state.watchdog.failure)
    return _json({"live": healthy}, 200 if healthy else 503)


async def ready(call: V2Call) -> V2Response:
    """Report whether models are loaded and the service is not shutting down, as `/readyz` does."""
    is_ready = call.state.is_ready
    return _json({"ready": is_ready, "live": True}, 200 if is_ready else 503)


async def model_list(call: V2Call) -> V2Response:
    """List the names of all models, as KServe does."""
    return _json({"models": open_inference.served_names(call.state.store)})


async def model_metadata(call: V2Call) -> V2Response:
    """Describe a model."""
    return _json(open_inference.model_metadata(call.state.store, await _find(call)))


async def model_ready(call: V2Call) -> V2Response:
    """Report whether a model can be used."""
    return _json({"name": (await _find(call)).name, "ready": True})


async def model_config(call: V2Call) -> V2Response:
    """Return the configuration of a model, as Triton does."""
    return _json(open_inference.model_config(await _find(call), call.state.settings))


async def model_statistics(call: V2Call) -> V2Response:
    """Return the statistics of a model, or of all models."""
    models = [await _find(call)] if "name" in call.parts else [*open_inference.served_models(call.state.store)]
    statistics = call.state.metrics.statistics()
    return _json({"model_stats": [open_inference.model_statistics(model, statistics) for model in models]})


async def model_infer(call: V2Call) -> V2Response:
    """Run a request for inference."""
    served = await _find(call, shared=True)
    return await infer(call.state, call.context, call.receive, served)


class IndexQuery(BaseModel):
    """The body of a request for the index."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ready: bool = False


async def repository_index(call: V2Call) -> V2Response:
    """List all models and versions with their states."""
    with BodyReservation(call.state.admission) as reservation:
        body = await read_body(call.receive, call.context.headers, 1 << 16, reservation)
    try:
        query = IndexQuery.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise MalformedBody('the body must be empty or {"ready": true}') from error
    return _json(open_inference.repository_index(call.state.store, ready_only=query.ready))


async def model_load(call: V2Call) -> V2Response:
    """Load a model, and look for new versions."""
    await _check_control(call)
    parts = split_name(call.parts["name"])
    await call.state.store.load(parts.model, parts.operation)
    return _json({})


async def model_unload(call: V2Call) -> V2Response:
    """Unload a model."""
    await _check_control(call)
    parts = split_name(call.parts["name"])
    await call.state.store.unload(parts.model, parts.operation)
    return _json({})


async def _check_control(call: V2Call) -> None:
    """Raise Forbidden unless models may be loaded and unloaded, and MalformedBody if the body has parameters."""
    if not call.state.settings.enable_model_control:
        raise Forbidden("loading and unloading is disabled; an operator enables it by HOURGLASS_ENABLE_MODEL_CONTROL")
    with BodyReservation(call.state.admission) as reservation:
        body = await read_body(call.receive, call.context.headers, 1 << 16, reservation)
    try:
        document = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise MalformedBody("the body is not valid JSON") from error
    parameters = document.get("parameters") or {} if isinstance(document, dict) else None
    if not isinstance(parameters, dict) or set(parameters) - {"unload_dependents"}:
        raise MalformedBody("parameters: models are loaded from the models folder only; send no parameters")


async def _find(call: V2Call, *, shared: bool = False) -> open_inference.ServedModel:
    served = await find_model(call.state.store, call.parts["name"], call.parts.get("version", ""), shared=shared)
    call.context.model = served.model.card.name
    return served


@dataclass(frozen=True, slots=True)
class V2Route:
    """A path with its method. `path` is its label in metrics."""

    method: str
    path: str
    pattern: re.Pattern[str]
    handler: Handler


def _route(method: str, pattern: str, handler: Handler) -> V2Route:
    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern).replace("(?:/versions/{version})?", "")
    return V2Route(method, path, re.compile(pattern), handler)


ROUTES = (
    _route("POST", MODEL + "/infer", model_infer),
    _route("GET", "/v2", server_metadata),
    _route("GET", "/v2/health/live", live),
    _route("GET", "/v2/health/ready", ready),
    _route("GET", "/v2/models", model_list),
    _route("GET", "/v2/models/stats", model_statistics),
    _route("GET", MODEL, model_metadata),
    _route("GET", MODEL + "/ready", model_ready),
    _route("GET", MODEL + "/config", model_config),
    _route("GET", MODEL + "/stats", model_statistics),
    _route("POST", "/v2/repository/index", repository_index),
    _route("POST", "/v2/repository/models/(?P<name>[^/]+)/load", model_load),
    _route("POST", "/v2/repository/models/(?P<name>[^/]+)/unload", model_unload),
)


def _match(path: str) -> tuple[V2Route, Mapping[str, str]] | None:
    """Return the route of a path and the named parts of the path, None if there is no such path."""
    for route in ROUTES:
        if match := route.pattern.fullmatch(path):
            return route, {name: value or "" for name, value in match.groupdict().items()}
    return None


_match_cached = lru_cache(maxsize=256)(_match)
