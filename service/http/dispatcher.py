"""The outermost ASGI callable: assigns request ids, authorizes, dispatches and records every request.

It calls the endpoints of the four operations directly and forwards all other requests to the app. The app's router has
endpoints of the same class, so that the OpenAPI document describes them and the app works without the dispatcher.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.operations import OPERATIONS
from service.errors import Forbidden, RateLimited, Unauthorized
from service.http.context import RequestContext, create_context, get_state, record_request, send_response
from service.http.endpoint import Endpoint
from service.http.problems import problem_response


class Dispatcher:
    """ASGI middleware that answers the operations itself and passes other requests to `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.endpoints = {f"/{operation}": Endpoint(operation) for operation in OPERATIONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context = create_context(scope)
        endpoint = self.endpoints.get(scope["path"])
        try:
            api_keys = get_state(scope).api_keys
            if api_keys:
                context.key_name = api_keys.authorize(scope["path"], context.headers)
            if endpoint:
                await endpoint(scope, receive, send)
            else:
                # HEAD is answered as GET; uvicorn drops the body.
                get_scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
                await self.app(get_scope, receive, _with_request_id(context, send))
        except (Unauthorized, Forbidden, RateLimited) as problem:
            context.status, body, headers = problem_response(problem, context.id)
            await send_response(context, send, body, headers)
        finally:
            record_request(context, get_state(scope), scope)


def _with_request_id(context: RequestContext, send: Send) -> Send:
    """Wrap `send` to add the `X-Request-ID` header. Operation endpoints add it themselves."""

    async def send_with_request_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            context.status = message["status"]
            message["headers"].append((b"x-request-id", context.id.encode()))
        await send(message)

    return send_with_request_id
