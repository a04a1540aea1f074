"""The outermost ASGI callable: id, timing and metrics of every request, calls in one path.

The four operations are answered here, whole; all else goes to the app. Endpoints of the same class stand on the app's
router, so the document describes them and the app works without its front.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.operations import OPERATIONS
from service.errors import Forbidden, RateLimited, Unauthorized
from service.http.context import RequestContext, create_context, get_state, record_request, send_response
from service.http.endpoint import Endpoint
from service.http.problems import problem_response
from service.runtime.session import DeviceUnavailable


class Dispatcher:
    """Operations answered here, the rest by `app`; every answer carries its id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.endpoints = {f"/{operation}": Endpoint(operation) for operation in OPERATIONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, _short_startup_error(send))
            return
        exchange = create_context(scope)
        endpoint = self.endpoints.get(scope["path"])
        try:
            access = get_state(scope).api_keys
            if access:
                exchange.key_name = access.authorize(scope["path"], exchange.headers)
            if endpoint:
                await endpoint(scope, receive, send)
            else:
                get_scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # uvicorn drops the body
                await self.app(get_scope, receive, _with_request_id(exchange, send))
        except (Unauthorized, Forbidden, RateLimited) as problem:
            exchange.status, body, headers = problem_response(problem, exchange.id)
            await send_response(exchange, send, body, headers)
        finally:
            record_request(exchange, get_state(scope), scope)


def _with_request_id(exchange: RequestContext, send: Send) -> Send:
    """Sends on what the app answers, with the request's id; the operations put it there themselves."""

    async def send_with_request_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            message["headers"].append((b"x-request-id", exchange.id.encode()))
        await send(message)

    return send_with_request_id


def _short_startup_error(send: Send) -> Send:
    """Sends on, but where the device cannot be used the start fails with that sentence, not with a traceback."""
    known = f"{DeviceUnavailable.__module__}.{DeviceUnavailable.__qualname__}: "

    async def send_short_error(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed" and known in message["message"]:
            message = {**message, "message": message["message"].rpartition(known)[2].strip()}
        await send(message)

    return send_short_error
