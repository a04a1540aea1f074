"""Names of the columns of a table in the answers of its model."""

from pathlib import Path

from tests.conftest import Serve
from tests.support.tiny_models import publish

COLUMNS = [
    {"name": "Länge", "kind": "number"},
    {"name": "colour", "kind": "category", "categories": ["blue", "red"]},
]


def test_vectors_are_answered_with_the_names_of_their_columns(tmp_path: Path, serve: Serve) -> None:
    publish(tmp_path, "points", format=2, columns=COLUMNS)
    client = serve(models_dir=tmp_path)
    answer = client.post("/reconstruct?model=points", json={"values": [[1, 0, 1]]}).json()
    assert answer["columns"] == ["Länge", "colour=blue", "colour=red"]
    assert len(answer["results"][0]["values"]) == 3
    code = client.post("/encode?model=points", json={"values": [[1, 0, 1]]}).json()
    assert "columns" not in code


def test_model_without_columns_answers_without_names(serve: Serve) -> None:
    answer = serve().post("/reconstruct?model=points", json={"values": [[1, 0, 1]]}).json()
    assert "columns" not in answer
