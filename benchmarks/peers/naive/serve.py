"""Naive FastAPI: an `async` endpoint that takes an uploaded file, one uvicorn worker with uvloop and httptools.

Follows FastAPI's "Request Files" (https://fastapi.tiangolo.com/tutorial/request-files/).
"""

import argparse
import io
import os

import numpy as np
import uvicorn
from fastapi import FastAPI, Response, UploadFile
from PIL import Image

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort


def create_app(graph: str) -> FastAPI:
    """Create the application with one session of one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/denoise")
    async def denoise(image: UploadFile) -> Response:
        pixels = np.asarray(Image.open(io.BytesIO(await image.read())).convert("L"))
        (restored,) = session.run(None, {name: pixels[np.newaxis, :, :, np.newaxis]})
        out = io.BytesIO()
        Image.fromarray(restored[0, :, :, 0]).save(out, "PNG")
        return Response(out.getvalue(), media_type="image/png")

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(
        create_app(options.graph),
        port=options.port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
