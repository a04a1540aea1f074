"""FastAPI's own echo, as its documentation writes a route that takes a raw body: the floor of all our ratios."""

from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.get("/livez")
async def livez() -> dict[str, str]:
    """Report readiness."""
    return {"status": "alive"}


@app.post("/denoise")
async def echo(request: Request) -> Response:
    """Return the request body."""
    return Response(await request.body(), media_type="image/png")
