"""The outermost ASGI callable: id, timing and metrics of every request, calls in one path.

The four operations are answered here, whole; all else goes to the app. Endpoints of the same class stand on the app's
router, so the document describes them and the app works without its front.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.operations import OPERATIONS
from service.errors import Forbidden, RateExceeded, Unauthorized
from service.http.context import Exchange, begin, finish, respond, state_of
from service.http.endpoint import Endpoint
from service.http.problems import problem_answer
from service.runtime.session import DeviceUnavailable


class Front:
    """Operations answered here, the rest by `app`; every answer carries its id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.endpoints = {f"/{operation}": Endpoint(operation) for operation in OPERATIONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, plainly(send))
            return
        exchange = begin(scope)
        endpoint = self.endpoints.get(scope["path"])
        try:
            access = state_of(scope).access
            if access:
                exchange.key = access.admit(scope["path"], exchange.headers)
            if endpoint:
                await endpoint(scope, receive, send)
            else:
                asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # uvicorn drops the body
                await self.app(asked, receive, _named(exchange, send))
        except (Unauthorized, Forbidden, RateExceeded) as problem:
            exchange.status, body, headers = problem_answer(problem, exchange.id)
            await respond(exchange, send, body, headers)
        finally:
            finish(exchange, state_of(scope), scope)


def _named(exchange: Exchange, send: Send) -> Send:
    """Sends on what the app answers, with the request's id; the operations put it there themselves."""

    async def send_named(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            message["headers"].append((b"x-request-id", exchange.id.encode()))
        await send(message)

    return send_named


def plainly(send: Send) -> Send:
    """Sends on, but where the device cannot be used the start fails with that sentence, not with a traceback."""
    known = f"{DeviceUnavailable.__module__}.{DeviceUnavailable.__qualname__}: "

    async def send_plainly(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed" and known in message["message"]:
            message = {**message, "message": message["message"].rpartition(known)[2].strip()}
        await send(message)

    return send_plainly
