"""BentoML: one worker, uvloop and httptools, access log off; not batched, as that would need a second service.

Follows "Define input and output types" (https://docs.bentoml.com/en/latest/build-with-bentoml/iotypes.html).
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
import PIL.Image
from bentoml.validators import ContentType

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

GRAPH = "DENOISER_GRAPH"  # BentoML imports this file in its worker: the path travels by the environment


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Denoiser:
    """A denoiser with one onnxruntime session of one thread."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ[GRAPH], options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    @bentoml.api(route="/denoise")
    def denoise(self, image: PIL.Image.Image, /) -> Annotated[PIL.Image.Image, ContentType("image/png")]:
        """Return the restored picture; BentoML decodes and encodes the PNG with Pillow."""
        pixels = np.asarray(image.convert("L"))
        (restored,) = self.session.run(None, {self.name: pixels[np.newaxis, :, :, np.newaxis]})
        return PIL.Image.fromarray(restored[0, :, :, 0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", required=True)
    parser.add_argument("--port", required=True)
    options = parser.parse_args()
    os.environ |= {GRAPH: str(Path(options.graph).resolve()), "BENTOML_DO_NOT_TRACK": "True"}
    os.environ.setdefault("BENTOML_HOME", str(Path(sys.prefix) / "bentoml"))  # otherwise it creates ~/bentoml
    here = str(Path(__file__).parent)
    command = [
        "bentoml",
        "serve",
        "serve:Denoiser",
        "--working-dir",
        here,
        "--host",
        "127.0.0.1",
        "--port",
        options.port,
    ]
    os.execv(sys.executable, [sys.executable, "-m", *command])  # noqa: S606 - no shell is wanted
