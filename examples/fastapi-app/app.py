"""A web application that denoises the photographs of its users: `uvicorn app:app`.

A person waits for the response, so nothing is tried again: if the service is busy, the browser gets its `Retry-After`.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, HTTPException, Request, Response, UploadFile

SECONDS = 20.0  # how long a user waits
HEADERS = {"X-Request-Timeout": str(SECONDS), "Accept": "image/jpeg"}
if key := os.environ.get("DENOISER_KEY"):
    HEADERS["Authorization"] = f"Bearer {key}"


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, httpx.AsyncClient]]:
    """Open one client for all requests, so that connections to the service are kept."""
    address = os.environ.get("DENOISER_URL", "http://localhost:8000")
    async with httpx.AsyncClient(base_url=address, headers=HEADERS, timeout=SECONDS + 1) as client:
        yield {"denoiser": client}


app = FastAPI(lifespan=lifespan)


@app.post("/photos")
async def denoise(request: Request, photo: UploadFile) -> Response:
    """Return the photograph without its noise, as a JPEG."""
    client: httpx.AsyncClient = request.state.denoiser
    try:
        reply = await client.post("/denoise", content=await photo.read())
    except httpx.TransportError as error:
        raise HTTPException(503, "photographs cannot be denoised now", {"Retry-After": "5"}) from error
    if reply.is_success:
        noise = reply.headers.get("X-Noise-Sigma", "")
        return Response(reply.content, media_type="image/jpeg", headers={"X-Noise-Sigma": noise})
    if reply.status_code in (429, 503, 504):
        raise HTTPException(503, "busy, please try again", {"Retry-After": reply.headers.get("Retry-After", "5")})
    if reply.status_code in (413, 415, 422):  # the detail says what is wrong with the user's file
        raise HTTPException(reply.status_code, reply.json()["detail"])
    reply.raise_for_status()  # a mistake of this application, such as a wrong key: a 500, and an entry in the log
    raise HTTPException(502)
