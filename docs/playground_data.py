"""Writes the test digits of the playground: a sheet of pictures, and their codes by the models of the plane.

`python -m docs.playground_data --data ~/data` writes them into service/http/static/playground/. The codes of a model
carry the hash of its graph. When a model has another one, a test fails, and the page encodes the sheet itself.
"""

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from docs.api_pages import ROOT
from service.card import CARD_FILE, Graph, read_card
from service.http.pages import PLAYGROUND_DIR
from service.runtime.session import Session
from training.data.idx import IdxSection

MODELS = ("digits-2d", "digits-vae-2d")
PER_CLASS = 40  # digits of each class on the sheet
COLUMNS = 25
STEPS = 65535  # a number of a code is stored as one of so many steps between the smallest and the largest


def encode_graph(name: str) -> tuple[Graph, Path]:
    """Return the entry of a shipped model's float32 graph that encodes, and its file. The newest version counts."""
    folder = max((ROOT / "models" / name).iterdir(), key=lambda path: int(path.name))
    card = read_card((folder / CARD_FILE).read_bytes())
    graph = next(one for one in card.graphs if (one.operation, one.precision) == ("encode", "float32"))
    return graph, folder / graph.file


def codes_file(codes: NDArray[np.float32], labels: NDArray[np.int64], sha256: str) -> dict[str, Any]:
    """Return what is stored of codes (float32 N,2) and the classes of their digits (N)."""
    low, high = codes.min(0), codes.max(0)
    steps = np.rint((codes - low) / (high - low) * STEPS).astype("<u2")
    return {
        "encode_sha256": sha256,
        "low": low.astype(float).tolist(),
        "high": high.astype(float).tolist(),
        "labels": "".join(map(str, labels)),
        "codes": base64.b64encode(steps.tobytes()).decode(),
    }


def read_codes(stored: dict[str, Any]) -> NDArray[np.float64]:
    """Return the codes (N,2) of a file."""
    steps = np.frombuffer(base64.b64decode(stored["codes"]), "<u2").reshape(-1, 2)
    low, high = np.array(stored["low"]), np.array(stored["high"])
    return low + steps / STEPS * (high - low)


def write_sheet(pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Write the first digits of each class, in the order of the test set, as one picture, and their classes."""
    first = np.sort(np.concatenate([np.flatnonzero(labels == label)[:PER_CLASS] for label in range(10)]))
    rows = pictures[first, :, :, 0].reshape(-1, COLUMNS, 28, 28)
    sheet = rows.swapaxes(1, 2).reshape(-1, COLUMNS * 28)
    Image.fromarray(sheet).save(PLAYGROUND_DIR / "digits.png", optimize=True)
    facts = {"columns": COLUMNS, "labels": "".join(map(str, labels[first])), "codes": MODELS}
    (PLAYGROUND_DIR / "digits.json").write_text(json.dumps(facts) + "\n", "utf-8")


def main() -> None:
    """Write the sheet of digits and the codes of each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder to search for MNIST first")
    dataset = IdxSection(source="mnist").read(parser.parse_args().data)
    pictures, labels = dataset.test, dataset.test_labels
    if labels is None:
        raise ValueError("the classes of the test digits are missing")
    write_sheet(pictures.astype(np.uint8), labels)
    for name in MODELS:
        graph, file = encode_graph(name)
        codes = Session(file.read_bytes()).run(pictures)
        content = codes_file(codes.astype(np.float32), labels, graph.sha256)
        (PLAYGROUND_DIR / f"codes-{name}.json").write_text(json.dumps(content) + "\n", "utf-8")


if __name__ == "__main__":
    main()
