"""The /docs page, served from files of this package so that it works offline."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

STATIC_DIR = Path(__file__).parent / "static"
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI sets inline styles
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


def mount_docs(app: FastAPI) -> None:
    """Add /docs and /static to the app. The page runs only its own scripts and connects only to this service."""
    app.mount("/static", StaticFiles(directory=STATIC_DIR), name="static")
    page = (STATIC_DIR / "docs.html").read_text("utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        base = request.scope.get("root_path", "")
        if base:
            base += "/"
        elif request.scope.get("raw_path", b"").endswith(b"/"):
            base = "../"
        return HTMLResponse(
            page.replace('"static/', f'"{base}static/'),
            headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"},
        )
