"""Names of models that are not there, or that do not have the operation: the nearest name, and what has it."""

import pytest
from starlette.testclient import TestClient

from service.repository.snapshot import Standby
from tests.conftest import Serve, digit, png


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("photo", ", did you mean photos?"),
        ("Photos", ", did you mean photos?"),
        ("digit", ", did you mean digits?"),
        ("points3", ", did you mean points?"),
        ("photos@5", ": write model=photos&version=5"),
        ("photo@v5", ": write model=photos&version=5"),
        ("nothing@5", ""),
        ("<script>", ""),
        ("x" * 500, ""),
    ],
)
def test_nearest_name_and_models_of_the_operation(client: TestClient, name: str, hint: str) -> None:
    answer = client.post("/denoise", params={"model": name}, content=png(digit()))
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        f"model: there is no such model{hint}; models that denoise: digits, photos",
    )


def test_model_without_the_operation_names_those_with_it(client: TestClient) -> None:
    answer = client.post("/denoise?model=points", json={"values": [[1, 2, 3]]})
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("model: points does not support denoise, only ")
    assert answer.json()["detail"].endswith("; models that denoise: digits, photos")


def test_page_of_a_missing_model_suggests_the_nearest(client: TestClient) -> None:
    assert client.get("/models/digit").json()["detail"] == (
        "model: there is no such model, did you mean digits?; GET /models lists all"
    )


@pytest.mark.parametrize(
    ("name", "hint"), [("digit.denoise", ", did you mean digits.denoise?"), ("zzz", ""), ("zzz.denoise", "")]
)
def test_open_inference_suggests_its_own_names(client: TestClient, name: str, hint: str) -> None:
    assert client.get(f"/v2/models/{name}").json()["error"] == (
        f"there is no such model{hint}; /v2/models and the repository index list all"
    )


def test_models_that_are_still_unread_are_not_left_out(serve: Serve) -> None:
    client = serve()
    store = client.app_state["service"].store
    store.snapshot.standby["later"] = Standby(1, ())
    answer = client.post("/denoise?model=nobody", content=png(digit()))
    assert answer.json()["detail"].endswith("models that denoise: digits, photos and others; GET /models lists all")
