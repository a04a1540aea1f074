"""Reads a manifest by the models of the package `kserve`, and prints each field that they do not know or change.

python kserve_manifests.py KIND FILE, where KIND is the name of a model such as V1beta1InferenceService.
"""

import json
import re
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


def add_core_models() -> None:
    """Add the models of Kubernetes to those of KServe, where its reader looks for them, and spell types as it does."""
    for name in dir(core):
        model = getattr(core, name)
        if hasattr(models, name) or not hasattr(model, "openapi_types"):
            continue
        for field, kind in model.openapi_types.items():
            spelling = re.sub(r"^Dict\[(.*)\]$", r"dict(\1)", kind)
            model.openapi_types[field] = spelling.replace("List[", "list[")
        setattr(models, name, model)


add_core_models()
kind, file = sys.argv[1:]
manifest = yaml.safe_load(Path(file).read_text())
client = ApiClient()
parsed = client.deserialize(SimpleNamespace(data=json.dumps(manifest)), kind)
print(*differences(manifest, client.sanitize_for_serialization(parsed), ""), sep="\n", end="")
