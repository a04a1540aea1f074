"""Who has a hand in an artefact, and in which version: what a model's card says of how it was made."""

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

WRITERS = ("hourglass", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def versions() -> dict[str, str]:
    """Of Python and of every installed package of WRITERS."""
    found = {"python": platform.python_version()}
    for name in WRITERS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
