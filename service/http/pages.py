"""The pages /docs and the playground at /, served from files of this package so that they work offline."""

import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_DIR = Path(__file__).parent / "static"
PLAYGROUND_DIR = STATIC_DIR / "playground"
COMMON_POLICY = [
    "default-src 'none'",
    "script-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
]
DOCS_POLICY = "; ".join([*COMMON_POLICY, "style-src 'self' 'unsafe-inline'"])  # Swagger UI sets inline styles
PLAYGROUND_POLICY = "; ".join([*COMMON_POLICY, "style-src 'self'", "worker-src 'self'"])


class PageFiles(StaticFiles):
    """The files directly in a folder. Browsers revalidate them, so that all are of one version."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Find a file, but none in a folder of the folder: each page has its own mount, which a setting leaves out."""
        return super().lookup_path(path) if os.sep not in path else ("", None)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the response of a file, or a 304 if the client has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update({"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})
        return response


def mount_docs(app: FastAPI) -> None:
    """Add /docs and its files to the app. The page runs only its own scripts and connects only to this service."""
    app.mount("/static", PageFiles(directory=STATIC_DIR), name="static")
    page = (STATIC_DIR / "docs.html").read_text("utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        return _page_response(page, request, DOCS_POLICY)


def mount_playground(app: FastAPI) -> None:
    """Add the playground at / and its files to the app.

    Must be called before `mount_docs`, whose mount has a shorter path.
    """
    app.mount("/static/playground", PageFiles(directory=PLAYGROUND_DIR), name="playground")
    page = (PLAYGROUND_DIR / "index.html").read_text("utf-8")

    @app.get("/", include_in_schema=False)
    async def playground(request: Request) -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        return _page_response(page, request, PLAYGROUND_POLICY)


def redirect_root(app: FastAPI) -> None:
    """Redirect / to /docs, without naming a scheme or host."""

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> RedirectResponse:  # pyright: ignore[reportUnusedFunction]
        prefix: str = request.scope.get("root_path", "")
        return RedirectResponse(f"{prefix}/docs" if prefix else "docs")


def _page_response(page: str, request: Request, policy: str) -> HTMLResponse:
    """Return a page whose files are addressed relative to the path under which the client sees the service."""
    base: str = request.scope.get("root_path", "")
    if base:
        base += "/"
    elif len(request.scope["path"]) > 1 and request.scope.get("raw_path", b"").endswith(b"/"):
        base = "../"
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return HTMLResponse(page.replace('"static/', f'"{base}static/'), headers=headers)
