"""The outermost ASGI callable: assigns request ids, authorizes, dispatches and records every request.

It calls the endpoints of the four operations directly and forwards all other requests to the app. The app's router has
endpoints of the same class, so that the OpenAPI document describes them and the app works without the dispatcher.
"""

from fastapi import FastAPI
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from service.engine.operations import OPERATIONS
from service.errors import Forbidden, RateLimited, Unauthorized
from service.http.context import (
    RequestContext,
    create_context,
    get_state,
    identity_headers,
    record_request,
    send_response,
    start_span,
)
from service.http.endpoint import Endpoint
from service.http.problems import problem_response
from service.http.proxies import resolve_path
from service.http.v2 import OpenInference, authorization_path, error_response, is_v2


class Dispatcher:
    """ASGI middleware that answers the operations itself and passes other requests to `app`."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.endpoints = {f"/{operation}": Endpoint(operation) for operation in OPERATIONS}
        self.open_inference = OpenInference()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context = create_context(scope)
        state = get_state(scope)
        if state.tracer:
            start_span(context, state, scope)
        path: str = scope["path"]
        endpoint = self.endpoints.get(path)
        if endpoint is None and not is_v2(path):
            scope, path = resolve_path(scope, context.headers, state.settings)
            endpoint = self.endpoints.get(path)
        try:
            if state.api_keys:
                key_path = authorization_path(path) if is_v2(path) else path
                context.key_name = state.api_keys.authorize(key_path, context.headers)
            if is_v2(path):
                await self.open_inference(scope, receive, send)
            elif scope["method"] == "OPTIONS" and (allow := self._allowed_methods(endpoint, scope)):
                context.status = 204
                await send_response(context, send, b"", [(b"allow", allow)])
            elif endpoint:
                await endpoint(scope, receive, send)
            else:
                # HEAD is answered as GET; uvicorn drops the body.
                get_scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
                await self.app(get_scope, receive, _with_request_id(context, send))
        except (Unauthorized, Forbidden, RateLimited) as problem:
            respond = error_response if is_v2(path) else problem_response
            context.rejection = problem.type
            context.status, body, headers = respond(problem, context.id)
            await send_response(context, send, body, headers)
        finally:
            record_request(context, state, scope)

    def _allowed_methods(self, endpoint: Endpoint | None, scope: Scope) -> bytes:
        """Return the methods of a path, or an empty string if there is no such path."""
        if endpoint:
            return b"OPTIONS, POST"
        get_scope = {**scope, "method": "GET"}
        known = any(route.matches(get_scope)[0] is Match.FULL for route in self.app.routes)
        return b"GET, HEAD, OPTIONS" if known else b""


def _with_request_id(context: RequestContext, send: Send) -> Send:
    """Wrap `send` to add the headers that identify the request. Operation endpoints add it themselves."""

    async def send_with_request_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            context.status = message["status"]
            message["headers"] += identity_headers(context)
        await send(message)

    return send_with_request_id
