"""End to end: train for twenty steps, export, serve; HTTP responses equal the net in torch."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.codec import write_npy
from tests.conftest import Serve, pixels, png
from tests.support.training import silent, small, vectors
from training.export.onnx_graph import ExportModule
from training.export.publish import publish
from training.loop.fit import FitResult, fit
from training.nets import Operation

TWENTY = {"epochs": 2, "batch": 8}
NPY = "application/x-npy"
KINDS: dict[str, tuple[Any, dict[str, dict[str, Any]]]] = {
    "dense": (None, {"optimizer": TWENTY}),
    "vectors": (
        vectors(100),
        {
            "net": {"family": "dense", "code": 2, "output": "linear"},
            "objective": {"loss": "mse"},
            "optimizer": TWENTY,
        },
    ),
    "conv": (
        None,
        {
            "net": {"family": "conv", "widths": [4, 6], "code": 3, "skips": True, "any_size": True},
            "corruption": {"kind": "gaussian", "sigma": 0.2},
            "model": {"operations": ["denoise"]},
            "optimizer": TWENTY,
        },
    ),
}


def in_torch(fitted: FitResult, operation: Operation, inputs: NDArray[Any]) -> NDArray[Any]:
    with torch.no_grad():
        return ExportModule(fitted.net, operation)(torch.from_numpy(inputs)).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_http_responses_equal_torch(tmp_path: Path, serve: Serve, kind: str) -> None:
    items, changes = KINDS[kind]
    recipe, data = small(tmp_path, items, **changes)
    fitted = fit(recipe, data, tmp_path / "run", silent())
    assert fitted.steps == 20
    publish(recipe, data, fitted, tmp_path / "models")
    client = serve(models_dir=tmp_path / "models", default_denoise="")

    for operation in recipe.operations:
        inputs = data.test if operation != "decode" else in_torch(fitted, "encode", data.test)
        answer = client.post(f"/{operation}", content=write_npy(inputs), headers={"content-type": NPY})
        assert answer.status_code == 200, answer.text
        output, expected = np.load(BytesIO(answer.content), allow_pickle=False), in_torch(fitted, operation, inputs)
        assert output.dtype == expected.dtype
        if expected.dtype == np.uint8:
            assert np.abs(output.astype(int) - expected).max() <= 1
        else:
            assert np.abs(output - expected).max() <= 1e-5 * np.abs(expected).max()
        if expected.dtype == np.uint8 and operation != "decode":
            picture = client.post(f"/{operation}", content=png(data.test[0]))
            assert np.abs(pixels(picture.content).astype(int) - expected[0, :, :, 0]).max() <= 1
