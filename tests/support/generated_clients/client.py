"""Calls the service with the client that openapi-python-client generated, and prints the answers as JSON.

Arguments: address, API key, file of a digit, file of a photograph.
"""

import base64
import json
import sys
from io import BytesIO
from pathlib import Path

from hourglass_client import AuthenticatedClient
from hourglass_client.api.operations import denoise, encode
from hourglass_client.api.service import models
from hourglass_client.models import DenoiseFilesBody, ImagesBody, ProblemDocument, ValuesBody
from hourglass_client.types import File

address, key, digit, photo = sys.argv[1:]
client = AuthenticatedClient(address, key, headers={"Accept": "application/json"})
image = ImagesBody([base64.b64encode(Path(digit).read_bytes()).decode()])
photograph = Path(photo).read_bytes()
form = DenoiseFilesBody([File(BytesIO(photograph), "photo.png", "image/png")], model="photos", strength=0.5)
problem = denoise.sync(client=client, body=File(BytesIO(b"not an image")))
answers = {
    "models": [model.name for model in models.sync(client=client).models],
    "code": encode.sync(client=client, body=image).results[0].code,
    "vector": encode.sync(client=client, body=ValuesBody([[1, 2, 3]]), model="points").results[0].code,
    "denoised": denoise.sync(client=client, body=File(BytesIO(photograph))).results[0].image,
    "half": denoise.sync(client=client, body=form).results[0].image,
    "problem": problem.to_dict() if isinstance(problem, ProblemDocument) else None,
    "refused": encode.sync(client=AuthenticatedClient(address, "wrong"), body=image).to_dict(),
}
print(json.dumps(answers))
