"""Publishing: verified by the loader of the service, equal to torch, without local paths, or rejected."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from service.card import Card, read_card
from service.engine.bitstream import decode_item, encode_item
from service.repository.loader import load_graph
from service.runtime.tensors import to_array
from service.types import Crop
from tests.support.training import pictures, silent, small, vectors
from training.data import Dataset
from training.errors import PublishError
from training.export import artifact
from training.export.calibration import calibration_inputs
from training.export.onnx_graph import ExportModule, export_onnx
from training.export.publish import publish
from training.loop.fit import FitResult, fit
from training.loop.plan import complete
from training.recipe import Recipe

LINEAR = {"family": "dense", "code": 2, "output": "linear", "normalize": "none"}
KINDS: dict[str, tuple[Any, dict[str, dict[str, Any]]]] = {
    "pictures": (None, {}),
    "vectors": (vectors(100), {"net": LINEAR, "objective": {"loss": "mse"}}),
    "any size": (
        None,
        {
            "net": {"family": "conv", "widths": [4, 6], "code": 3, "skips": True, "any_size": True},
            "corruption": {"kind": "gaussian", "sigma": 0.2},
            "model": {"operations": ["denoise"]},
        },
    ),
}
SMALL_PHOTO: dict[str, dict[str, Any]] = {
    "net": {
        "family": "conv",
        "widths": [16, 16],
        "code": 16,
        "skips": True,
        "any_size": True,
        "residual": True,
        "output": "linear",
    },
    "corruption": {"kind": "gaussian-blind", "high": 0.2},
    "objective": {"loss": "log_mse"},
    "model": {"operations": ["denoise"], "int8": True},
}
Published = tuple[Recipe, Dataset, FitResult, Path, Card]


@pytest.fixture(scope="module", params=KINDS)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    items, changes = KINDS[request.param]
    recipe, data = small(folder, items, **changes)
    result = fit(recipe, data, folder / "run", silent())
    target, _ = publish(recipe, data, result, folder / "models")
    return recipe, data, result, target, read_card((target / "card.json").read_bytes())


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Dataset, FitResult]:
    folder = tmp_path_factory.mktemp("blobs")
    recipe, data = small(folder, model={"operations": ["reconstruct"]})
    return recipe, data, fit(recipe, data, folder / "run", silent())


def test_folder_contains_only_model_files(published: Published) -> None:
    recipe, _, _, target, card = published
    files = {path.name for path in target.iterdir()}
    assert files == {
        "card.json",
        "weights.safetensors",
        *(f"{operation}.onnx" for operation in recipe.operations),
    }
    assert [path.name for path in target.parent.iterdir()] == ["1"]
    assert (card.name, card.version, card.operations) == ("blobs", 1, recipe.operations)


def test_published_model_equals_torch_in_the_service(published: Published) -> None:
    _, data, result, target, card = published
    for graph in card.graphs:
        session = load_graph(target, card, graph)
        served = ExportModule(result.net, graph.operation)
        items = (
            data.test
            if graph.operation != "decode"
            else np.zeros((3, *(side or 1 for side in result.net.code_shape)), np.float32)
        )
        expected = served(torch.from_numpy(items.copy())).numpy().astype(float)
        assert np.abs(session.run(items).astype(float) - expected).max() <= (
            1 if session.output.dtype == "uint8" else 1e-4
        )


def test_parity_covers_batches_and_odd_sizes(published: Published) -> None:
    *_, card = published
    for graph in card.graphs:
        assert {1, 2, 7, 64} <= {parity.batch for parity in graph.parity}
        for parity in graph.parity:
            assert parity.difference <= (1.0 if parity.unit == "levels" else 1e-5)
        if card.stride:
            assert any(side % 2 for parity in graph.parity for side in parity.shape[:2])


def test_probe_is_a_held_out_item(published: Published) -> None:
    _, data, _, _, card = published
    probe = to_array(card.graphs[0].probe.input)
    assert any((item == probe[0]).all() for item in data.test)
    assert not any((item == probe[0]).all() for item in data.train)


def test_card_describes_the_training(published: Published) -> None:
    recipe, data, result, target, card = published
    assert card.recipe == complete(recipe, data).model_dump(mode="json")
    assert (card.data.sha256, card.data.count) == (data.sha256, len(data.train))
    assert card.parameters == result.net.parameter_count()
    assert card.quality.figures
    assert card.quality.baselines
    assert {"python", "torch", "onnx", "onnxruntime"} <= card.made.versions.keys()
    for graph in card.graphs:
        assert graph.sha256 == hashlib.sha256((target / graph.file).read_bytes()).hexdigest()
    weights = load_file(target / "weights.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in result.net.state_dict().items())


def test_percentiles_are_computed_by_the_published_graph(published: Published) -> None:
    _, data, _, target, card = published
    if "reconstruct" not in card.operations:
        assert card.error_percentiles is None
        return
    graph = next(graph for graph in card.graphs if graph.operation == "reconstruct")
    scale = 255 if data.test.dtype == np.uint8 else 1
    output = load_graph(target, card, graph).run(data.test).astype(float) / scale
    errors = ((output - data.test.astype(float) / scale) ** 2).reshape(len(data.test), -1).mean(1)
    assert card.error_percentiles is not None
    np.testing.assert_allclose(card.error_percentiles[::50], np.percentile(errors, [0, 50, 100]), rtol=1e-3)


def test_graphs_contain_no_local_paths(published: Published) -> None:
    _, _, _, target, card = published
    here = str(Path(__file__).parents[3]).encode()
    for graph in card.graphs:
        content = (target / graph.file).read_bytes()
        for trace in (here, b"site-packages", b"stack_trace", b".py", b"training.", b"/tmp", b"/home"):
            assert trace not in content, trace
        model = onnx.load_from_string(content)
        assert [entry.version for entry in model.opset_import] == [card.made.opset]
        assert not any(part.metadata_props or part.doc_string for part in (model, model.graph, *model.graph.node))
        assert not any(tensor.external_data for tensor in model.graph.initializer)
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_exports_are_reproducible(blobs: tuple[Recipe, Dataset, FitResult]) -> None:
    served = ExportModule(blobs[2].net, "reconstruct")
    assert export_onnx(served) == export_onnx(served)


def test_weights_can_be_omitted(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, model={"operations": ["encode"], "weights": False})
    target, _ = publish(recipe, data, fit(recipe, data, tmp_path / "run", silent()), tmp_path / "models")
    assert sorted(path.name for path in target.iterdir()) == ["card.json", "encode.onnx"]


def test_versions_are_incremented(blobs: tuple[Recipe, Dataset, FitResult], tmp_path: Path) -> None:
    (tmp_path / "blobs" / "9").mkdir(parents=True)
    (tmp_path / "blobs" / "notes").mkdir()
    assert publish(*blobs, tmp_path)[0] == tmp_path / "blobs" / "10"


def test_graph_that_differs_from_the_net_is_rejected(
    blobs: tuple[Recipe, Dataset, FitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data, result = blobs
    other = recipe.net.build((1, 8, 8)).requires_grad_(False)
    monkeypatch.setattr(artifact, "export_onnx", lambda served: export_onnx(ExportModule(other, served.operation)))
    with pytest.raises(PublishError, match="does not reproduce its probe"):
        publish(recipe, data, result, tmp_path)
    assert not list(tmp_path.iterdir())


def test_parity_error_over_the_limit_is_rejected(
    blobs: tuple[Recipe, Dataset, FitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, _, result = blobs
    # Only the item of the probe is right, so only the comparison with torch detects it.
    test = np.concatenate([np.zeros((1, 8, 8, 1), np.uint8), pictures(20, seed=5)])
    data = Dataset("a", "b", pictures(20), test)
    honest = artifact.load_graph

    def crooked(*arguments: Any) -> Any:
        session = honest(*arguments)
        run = session.run

        def turned(batch: NDArray[Any], controls: NDArray[Any] | None = None, crop: Crop | None = None) -> NDArray[Any]:
            return np.where(batch > 200, 255 - run(batch, controls, crop), run(batch, controls, crop))

        session.run = turned
        return session

    monkeypatch.setattr(artifact, "load_graph", crooked)
    with pytest.raises(PublishError, match=r"reconstruct graph differs from the net by \d+ \(levels, at most 1"):
        publish(recipe, data, result, tmp_path)
    assert not list(tmp_path.iterdir())


def test_int8_is_published_with_its_quality_loss(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, None, **SMALL_PHOTO)
    result = fit(recipe, data, tmp_path / "run", silent())
    target, measured = publish(recipe, data, result, tmp_path / "models")
    card = read_card((target / "card.json").read_bytes())
    assert [(graph.precision, graph.file) for graph in card.graphs] == [
        ("float32", "denoise.onnx"),
        ("int8", "denoise.int8.onnx"),
    ]
    assert [(card.format, graph.weight_bits) for graph in card.graphs] == [(2, 8), (2, 7)]
    exact, small_one = (load_graph(target, card, graph).run(data.test).astype(int) for graph in card.graphs)
    assert 0 < np.abs(exact - small_one).max() < 30
    in_floats, in_integers = (graph.bytes_per_pixel for graph in card.graphs)
    assert in_floats
    assert in_integers
    assert 10 < in_integers < in_floats < 1000
    kinds = {node.op_type for node in onnx.load(target / "denoise.int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    for level in (15, 25, 50):
        lost = measured.metrics[f"denoise_psnr_{level}"] - measured.metrics[f"int8_denoise_psnr_{level}"]
        assert abs(lost) < 0.2


def test_int8_with_too_much_loss_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, data = small(tmp_path, None, **SMALL_PHOTO)
    result = fit(recipe, data, tmp_path / "run", silent())
    monkeypatch.setattr("training.export.publish.MAX_INT8_LOSS_DB", -100.0)
    with pytest.raises(PublishError, match="int8 loses"):
        publish(recipe, data, result, tmp_path / "models")
    assert not (tmp_path / "models" / "blobs").exists()


def test_colour_model_is_also_measured_on_grey(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    recipe, data = small(tmp_path, colour, **SMALL_PHOTO)
    arrays = calibration_inputs(recipe, data, "denoise")
    grey = [bool((array == array[..., :1]).all()) for array in arrays]
    assert sum(grey) == len(arrays) / 2
    _, measured = publish(recipe, data, fit(recipe, data, tmp_path / "run", silent()), tmp_path / "models")
    assert {"grey_denoise_psnr_25", "int8_grey_denoise_psnr_25"} <= measured.metrics.keys()


def test_whole_number_codes_are_published_with_tables(tmp_path: Path) -> None:
    net = {"family": "compressive", "code": 4, "hidden": [16]}
    recipe, data = small(tmp_path, net=net, objective={"loss": "mse", "penalties": {"rate": 0.01}})
    result = fit(recipe, data, tmp_path / "run", silent())
    target, _ = publish(recipe, data, result, tmp_path / "models")
    card = read_card((target / "card.json").read_bytes())
    (graph,) = [graph for graph in card.graphs if graph.operation == "encode"]
    codes = load_graph(target, card, graph).run(data.test)
    restored = [decode_item(encode_item(code, card), card)[0] for code in codes]
    np.testing.assert_array_equal(restored, codes)
