"""Reads a manifest by the models of the package `kserve`, and prints each field that they do not know or change.

python kserve_manifests.py KIND FILE, where KIND is the name of a model such as V1beta1InferenceService.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from kserve import models
from kserve.api_client import ApiClient
from kubernetes.client import models as core


def differences(written: Any, read: Any, path: str) -> Iterator[str]:
    """Yield the paths of what is in `written` and not the same in `read`."""
    if isinstance(written, dict) and isinstance(read, dict):
        for name, value in written.items():
            yield from differences(value, read.get(name), f"{path}.{name}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for at, value in enumerate(written):
            yield from differences(value, read[at], f"{path}[{at}]")
    elif written != read:
        yield f"{path}: {written!r} is read as {read!r}"


for name in dir(core):  # which the package's reader looks for among its own models
    if not hasattr(models, name):
        setattr(models, name, getattr(core, name))
kind, file = sys.argv[1:]
manifest = yaml.safe_load(Path(file).read_text())
client = ApiClient()
parsed = client.deserialize(SimpleNamespace(data=json.dumps(manifest)), kind)
print(*differences(manifest, client.sanitize_for_serialization(parsed), ""), sep="\n", end="")
