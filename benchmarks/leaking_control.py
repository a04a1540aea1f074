"""The control of the soak test: the service with a memory leak in every request."""

import os

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.soak import LEAK
from service.config import Settings
from service.server.protocol import TimeoutProtocol
from service.server.run import build_app

leaked: list[bytes] = []


def leaking(app: ASGIApp) -> ASGIApp:
    """Wrap the app so that every request leaks memory."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            leaked.append(os.urandom(LEAK))
        await app(scope, receive, send)

    return call


if __name__ == "__main__":
    settings = Settings.from_env(os.environ)
    uvicorn.run(leaking(build_app(settings)), port=settings.port, http=TimeoutProtocol, ws="none", log_config=None)
