"""The notebooks: saved with small outputs, and run from start to end on reduced data against a running service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from service.config import Settings
from tests.conftest import listening
from tests.support.training import pictures

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MOST_BYTES = 300_000


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # pyright: ignore[reportUnknownMemberType] - it has no types


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with listening(Settings(models_dir=ROOT / "models", model_watch="off")) as address:
        yield address


@pytest.fixture
def digits(tmp_path: Path) -> str:
    """Return blobs of the size of digits, with classes."""
    blobs = [pictures(count, seed)[..., 0] for count, seed in ((1000, 1), (500, 2))]
    train, test = (np.kron(small, np.ones((1, 4, 4), np.uint8))[:, 2:30, 2:30, np.newaxis] for small in blobs)
    labels = [(blobs.reshape(len(blobs), -1).mean(1) > 40).astype(np.int64) for blobs in (train, test)]
    path = tmp_path / "digits.npz"
    np.savez(path, train=train, test=test, train_labels=labels[0], test_labels=labels[1])
    return f'data={{source="arrays", path="{path}", licence="CC0-1.0"}}'


@every_notebook
def test_notebook_is_saved_with_its_outputs(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"stream", "display_data", "execute_result"}
    assert "display_data" in kinds
    assert str(Path.home()) not in path.read_text()


@every_notebook
def test_notebook_has_questions_answers_and_exercises(path: Path) -> None:
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    assert text.count("**Question:") >= 3
    assert [line[:2] for line in text.split("## Exercises")[1].splitlines() if line[:1].isdigit()] == ["1.", "2.", "3."]


@every_notebook
def test_notebook_runs_from_start_to_end(path: Path, tmp_path: Path, service: str, digits: str) -> None:
    notebook = read(path)
    changes = ["optimizer.epochs=1", "optimizer.warmup=1"]
    if "digits" in path.stem:
        changes += [digits, "optimizer.batch=50"]
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = f"DATA = None\nCHANGES = {changes!r}\nSERVICE = {service!r}"
    (tmp_path / "notebooks").mkdir()
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path / "notebooks")}})
    client.execute()  # pyright: ignore[reportUnknownMemberType] - raises on the first cell that fails
