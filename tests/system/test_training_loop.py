"""From training to answers: `hourglass-train fit` publishes into the folder of a service that runs, in processes."""

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from service.codec import write_npy
from tests.support.processes import serving, until
from tests.support.tiny_models import publish
from tests.support.training import pictures, workplace

pytestmark = pytest.mark.slow
NPY = "application/x-npy"


def fit(place: Path, models: Path, *arguments: str) -> None:
    """Fit blobs.toml in a process of its own, and publish it in the folder of models."""
    command = [sys.executable, "-m", "training", "fit", "blobs.toml", "--data", "data", "--out", str(models)]
    paths = os.pathsep.join(path for path in sys.path if path)
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    flags = ["--device", "cpu", "--publish-anyway", *arguments]
    ended = subprocess.run([*command, *flags], cwd=place, env=environ, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr


def reconstruct(address: str) -> Any:
    """Return the response to three blobs."""
    body = write_npy(pictures(3, seed=5))
    query = {"model": "blobs", "format": "npy"}
    headers = {"content-type": NPY}
    return httpx2.post(f"{address}/reconstruct", params=query, content=body, headers=headers, timeout=60)


def test_running_service_answers_with_what_is_fitted(tmp_path: Path) -> None:
    models = tmp_path / "models"
    publish(models, "digits")
    place = workplace(tmp_path)
    with serving(models) as (address, process):
        assert reconstruct(address).status_code == 404
        fit(place, models)
        until(lambda: reconstruct(address).status_code == 200)
        first = reconstruct(address)
        assert first.headers["x-model-version"] == "1"
        fit(place, models, "--fresh", "--set", "optimizer.epochs=40")
        until(lambda: reconstruct(address).headers["x-model-version"] == "2")
        second = reconstruct(address)
        assert process.poll() is None
    errors = [
        np.square(np.load(BytesIO(answer.content)).astype(float) - pictures(3, seed=5)).mean()
        for answer in (first, second)
    ]
    assert errors[1] < 0.9 * errors[0]
