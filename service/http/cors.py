"""Cross-origin requests of browsers: which origins may send them, and which headers their pages may send and read."""

from collections.abc import Iterable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from service.config import Settings
from service.http.headers import CORS_ALLOWED_HEADERS, CORS_EXPOSED_HEADERS
from service.types import Headers

EXPOSED = ", ".join(CORS_EXPOSED_HEADERS).encode()


def add_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Return the app behind a middleware that answers preflight requests, if the settings allow any origin."""
    if not settings.allowed_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=sorted(settings.allowed_origins),
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=CORS_ALLOWED_HEADERS,
        expose_headers=CORS_EXPOSED_HEADERS,
    )


def cors_headers(request_headers: Iterable[tuple[bytes, bytes]], settings: Settings) -> Headers:
    """Return the headers of a response that is sent without the middleware; the request's head may be incomplete."""
    if not settings.allowed_origins:
        return []
    if "*" in settings.allowed_origins:
        return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
    origin = next((value for name, value in request_headers if name == b"origin"), b"")
    if origin.decode("latin-1") not in settings.allowed_origins:
        return [(b"vary", b"Origin")]
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED),
        (b"vary", b"Origin"),
    ]
