"""Importing models of other programs: what is found out, what is served, and what is refused with a way out."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from service.card import Card, ImageInput, VectorInput, read_card
from service.repository.loader import load_graph
from tests.support.foreign_nets import ANY_NCHW, ANY_NHWC, blur_weights, save_denoiser, save_net, shrunk
from training.cli.commands import main
from training.errors import ImportRejected
from training.importing.original import Selection
from training.importing.plan import Flags
from training.importing.publish import ImportRequest, import_model
from training.importing.reading import RANGES, Reading, parse_range
from training.importing.samples import read_samples
from training.importing.source import read_source
from training.importing.trials import (
    Finding,
    ReadingFlags,
    Trial,
    candidates,
    choose_trial,
    try_readings,
    without_border,
)
from training.workspace import Workspace

KNOWN = ReadingFlags(input=parse_range("0..1"), output=parse_range("0..1"), bgr=False, residual=False)


def published(folder: Path, operation: str = "denoise") -> tuple[Card, Any]:
    card = read_card((folder / "card.json").read_bytes())
    graph = next(graph for graph in card.graphs if graph.operation == operation)
    return card, load_graph(folder, card, graph).run


def run_import(
    path: Path, *, operation: Any = "denoise", stated: ReadingFlags = KNOWN, constants: Any = None, **flags: Any
) -> tuple[Path, dict[str, Finding]]:
    findings: dict[str, Finding] = {}
    request = ImportRequest({operation: read_source(path)}, "mine", "CC0-1.0")
    imported = import_model(
        request,
        Selection(constants=constants or {}),
        Flags(stated, **flags),
        path.parent / "models",
        lambda finding: findings.update({finding.topic: finding}),
    )
    return imported.folder, findings


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_values_are_found_out_by_trying(tmp_path: Path) -> None:
    folder, findings = run_import(save_denoiser(tmp_path / "net.onnx", 40 / 255, 1), stated=ReadingFlags())
    assert findings["values"].choice == "NCHW 0..1 RGB"
    assert "dB more than" in findings["values"].evidence
    assert findings["color"].choice == "RGB"
    card, run = published(folder)
    images = noise(1, 33, 47, 3)
    assert np.abs(run(images).astype(int) - shrunk(images, 40)).max() <= 1
    assert card.origin is not None
    assert (card.origin.file, card.origin.licence, card.format) == ("net.onnx", "CC0-1.0", 2)
    assert card.quality.figures["denoise_psnr_25"] > card.quality.baselines["noisy input"]["denoise_psnr_25"] + 2


def test_borders_do_not_decide_how_values_are_read(tmp_path: Path) -> None:
    path = save_net(
        tmp_path / "net.onnx",
        "y = Conv(x blur) pads:1,1,1,1 group:3",
        {"blur": blur_weights()},
        inputs={"x": ANY_NCHW},
        outputs={"y": ANY_NCHW},
    )
    folder, findings = run_import(path, stated=ReadingFlags())
    assert findings["values"].choice == "NCHW 0..1 RGB"
    assert "the simplest of those that do the same away from the borders" in findings["values"].evidence
    for name in ("-1..1", "0..255", "imagenet"):
        assert f"NCHW {name} RGB" in findings["values"].evidence
    images = noise(1, 33, 47, 3)
    assert np.abs(published(folder)[1](images).astype(int) - shrunk(images, 1e9)).max() <= 1


@pytest.mark.parametrize("name", ["0..1", "-1..1", "0..255", "imagenet"])
def test_a_net_that_clips_to_its_range_is_read_in_it(name: str) -> None:
    values = RANGES[name]
    reading = Reading("nchw", values, values, 3)

    def run(inputs: Any) -> Any:
        """Return the values, rounded to grey levels and clipped to the range of images."""
        return reading.to_model(np.clip(np.rint(reading.from_model(inputs, clean[:1])), 0, 255).astype(np.uint8))

    clean = read_samples(None, 3, None).crops(8, 64, 64)
    trials = try_readings(
        run,
        list(candidates("nchw", 3, ("float32", "float32"), ReadingFlags(bgr=False), "reconstruct")),
        clean,
        "reconstruct",
    )
    chosen, findings = choose_trial(trials, "reconstruct", 8)
    assert chosen.reading == reading
    assert "simplest" not in findings[0].evidence


def test_borders_of_small_images_count() -> None:
    assert without_border(np.zeros((2, 28, 31, 1))).shape == (2, 28, 31, 1)
    assert without_border(np.zeros((2, 64, 32, 3))).shape == (2, 32, 16, 3)


def trial(reading: Reading, gains: list[float], level: int) -> Trial:
    """Return the trial of a reading with a gain for each crop, and outputs of one grey level."""
    return Trial(reading, np.array([gains]), np.array([gains]), np.full((1, 2, 2, 3), level, np.uint8))


def test_close_readings_are_asked_about() -> None:
    small, large = (Reading("nchw", RANGES[name], RANGES[name], 3) for name in ("0..1", "0..255"))
    close = [trial(small, [5.0, 6.0, 5.0], 10), trial(large, [5.1, 5.2, 5.4], 90)]
    with pytest.raises(
        ImportRejected, match=r"do about the same: .*Which one was the model trained with\? Say --range"
    ):
        choose_trial(close, "denoise", 3)


RED, BLUE = (Reading("nchw", RANGES["0..1"], RANGES["0..1"], 3, bgr) for bgr in (False, True))


def decide_order(leads: list[float], images: int) -> Finding:
    """Return what is found if BGR leads RGB by so many dB on each crop."""
    base = np.random.default_rng(0).uniform(2, 9, len(leads))
    trials = [trial(BLUE, list(base + leads), 10), trial(RED, list(base), 10)]
    return choose_trial(sorted(trials, key=lambda one: -one.score), "denoise", images)[1][-1]


def test_steady_lead_decides_the_order_of_colors() -> None:
    assert decide_order([0.1, 0.11, 0.12, 0.1] * 3, 12).choice == "BGR"
    assert decide_order([-0.1, -0.11, -0.12, -0.1] * 3, 12).choice == "RGB"


def test_order_of_colors_that_does_not_matter_is_rgb() -> None:
    finding = decide_order([0.03, -0.02, 0.01, 0.0] * 6, 24)
    assert finding.choice == "RGB"
    assert "both orders do the same" in finding.evidence


def test_order_of_colors_that_varies_is_asked_about() -> None:
    with pytest.raises(ImportRejected, match=r"by .* over 24 images.*Say --color rgb or --color bgr"):
        decide_order([1.0, -0.8, 1.2, -0.5] * 6, 24)


def test_crops_of_few_images_do_not_decide_the_order() -> None:
    leads = [0.6, 0.5, 0.62, 0.2]
    assert decide_order(leads * 10, 40).choice == "BGR"
    for images in (1, 2):
        with pytest.raises(ImportRejected, match="many different images"):
            decide_order(leads * 10, images)


def test_package_has_many_different_photographs() -> None:
    samples = read_samples(None, 3, None)
    assert len(samples.images) == 98
    means = samples.crops(98, 64, 64).mean((1, 2))
    assert len(np.unique(means.round(), axis=0)) == 98
    warm = means[:, 0] - means[:, 2]
    assert warm.min() < -40
    assert warm.max() > 40


def test_radius_and_stride_are_measured(tmp_path: Path) -> None:
    weights = {"blur": blur_weights(), "scales": np.array([1, 1, 2, 2], np.float32)}
    text = """
        wide = Conv(x blur) pads:1,1,1,1 group:3
        half = MaxPool(wide) kernel_shape:2,2 strides:2,2
        y = Resize(half  scales) mode:nearest coordinate_transformation_mode:asymmetric nearest_mode:floor
    """
    text = text.replace("half  scales", "half roi scales")
    weights["roi"] = np.zeros(0, np.float32)
    path = save_net(tmp_path / "net.onnx", text, weights, inputs={"x": ANY_NCHW}, outputs={"y": ANY_NCHW})
    folder, findings = run_import(path)
    card, run = published(folder)
    assert findings["sides"].choice == "any, padded to multiples of 2"
    assert (card.receptive_radius, card.stride) == (2, 2)
    images = noise(1, 43, 5, 3)
    padded = np.pad(images, [(0, 0), (0, 1), (0, 1), (0, 0)], mode="edge")
    np.testing.assert_array_equal(run(images), run(padded)[:, :43, :5])


def test_global_operation_is_served_untiled(tmp_path: Path) -> None:
    text = """
        mean = GlobalAveragePool(x)
        centred = Sub(x mean)
        y = Add(centred mean)
    """
    path = save_net(tmp_path / "net.onnx", text, {}, inputs={"x": ANY_NCHW}, outputs={"y": ANY_NCHW})
    folder, findings = run_import(path)
    card, _ = published(folder)
    assert card.any_size
    assert card.receptive_radius is None
    assert card.stride is None
    assert "GlobalAveragePool" in findings["tiles"].evidence


def test_channels_last_are_seen_from_the_shape(tmp_path: Path) -> None:
    path = save_net(tmp_path / "net.onnx", "y = Relu(x)", {}, inputs={"x": ANY_NHWC}, outputs={"y": ANY_NHWC})
    folder, findings = run_import(path)
    assert findings["layout"].choice == "NHWC, 3 channels"
    images = noise(1, 9, 12, 3)
    np.testing.assert_array_equal(published(folder)[1](images), images)


def test_blue_comes_first_where_the_flag_says_so(tmp_path: Path) -> None:
    half = np.array([0.5, 1, 1], np.float32).reshape(1, 3, 1, 1)
    path = save_net(
        tmp_path / "net.onnx", "y = Mul(x half)", {"half": half}, inputs={"x": ANY_NCHW}, outputs={"y": ANY_NCHW}
    )
    stated = ReadingFlags(input=parse_range("0..255"), output=parse_range("0..255"), bgr=True, residual=False)
    folder, _ = run_import(path, stated=stated)
    images = np.full((1, 5, 5, 3), 100, np.uint8)
    assert published(folder)[1](images)[0, 2, 2].tolist() == [100, 100, 50]


def test_weights_in_other_files_become_part_of_the_graph(tmp_path: Path) -> None:
    model = onnx.load(save_denoiser(tmp_path / "net.onnx", 0.2, 1))
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, location="big.bin", size_threshold=0)
    folder, findings = run_import(tmp_path / "big.onnx")
    assert "big.bin" in findings["file"].evidence
    images = noise(1, 20, 20, 3)
    assert np.abs(published(folder)[1](images).astype(int) - shrunk(images, 51)).max() <= 1
    (tmp_path / "big.bin").unlink()
    with pytest.raises(ImportRejected, match=r"big\.bin, which is missing: copy that file beside it"):
        read_source(tmp_path / "big.onnx")


def test_old_operator_sets_are_raised(tmp_path: Path) -> None:
    folder, findings = run_import(save_denoiser(tmp_path / "net.onnx", 0.2, 1, opset=9))
    assert findings["file"].evidence or findings["file"].choice
    images = noise(1, 20, 20, 3)
    assert np.abs(published(folder)[1](images).astype(int) - shrunk(images, 51)).max() <= 1


def test_float16_is_converted_at_both_ends(tmp_path: Path) -> None:
    path = save_net(
        tmp_path / "net.onnx",
        "y = Relu(x)",
        {},
        inputs={"x": ANY_NCHW},
        outputs={"y": ANY_NCHW},
        dtype=TensorProto.FLOAT16,
    )
    folder, _ = run_import(path)
    images = noise(1, 9, 12, 3)
    np.testing.assert_array_equal(published(folder)[1](images), images)


def test_model_of_one_item_takes_batches(tmp_path: Path) -> None:
    text = """
        flat = Reshape(x one)
        y = Reshape(flat image)
    """
    weights = {"one": np.array([1, 3 * 8 * 8]), "image": np.array([1, 3, 8, 8])}
    shape = (1, 3, 8, 8)
    path = save_net(tmp_path / "net.onnx", text, weights, inputs={"x": shape}, outputs={"y": shape})
    folder, findings = run_import(path)
    assert findings["sides"].choice == "8x8"
    card, run = published(folder)
    images = noise(5, 8, 8, 3)
    np.testing.assert_array_equal(run(images), images)
    assert card.input == ImageInput(kind="image", height=8, width=8, channels=3)


def test_further_input_becomes_a_constant(tmp_path: Path) -> None:
    path = save_net(
        tmp_path / "net.onnx", "y = Mul(x gain)", {}, inputs={"x": ANY_NCHW, "gain": ()}, outputs={"y": ANY_NCHW}
    )
    with pytest.raises(ImportRejected, match=r"which value is served\? Say --constant gain=VALUE"):
        run_import(path)
    folder, _ = run_import(path, constants={"gain": 0.5})
    images = np.full((1, 4, 4, 3), 100, np.uint8)
    np.testing.assert_array_equal(published(folder)[1](images), images // 2)


def test_vectors_are_imported_with_their_data(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((50, 6), np.float32)
    np.save(tmp_path / "rows.npy", rows)
    path = save_net(tmp_path / "net.onnx", "y = Relu(x)", {}, inputs={"x": ("n", 6)}, outputs={"y": ("n", 6)})
    with pytest.raises(ImportRejected, match="--data FILE"):
        run_import(path, operation="reconstruct")
    folder, _ = run_import(path, operation="reconstruct", data=tmp_path / "rows.npy")
    card, run = published(folder, "reconstruct")
    assert card.input == VectorInput(kind="vector", features=6)
    np.testing.assert_array_equal(run(rows), rows)


REFUSALS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "two images": (
        "y = Add(a b)",
        {},
        {"inputs": {"a": ANY_NCHW, "b": ANY_NCHW}, "outputs": {"y": ANY_NCHW}},
        "which one is it",
    ),
    "half the size": (
        "y = MaxPool(x) kernel_shape:2,2 strides:2,2",
        {},
        {"inputs": {"x": ANY_NCHW}, "outputs": {"y": ANY_NCHW}},
        "an image of the same size",
    ),
    "foreign operator": (
        "y = Wobble(x)",
        {},
        {"inputs": {"x": ANY_NCHW}, "outputs": {"y": ANY_NCHW}, "domain": "acme"},
        r"acme\.Wobble",
    ),
    "random numbers": (
        "r = RandomNormalLike(x)\ny = Add(x r)",
        {},
        {"inputs": {"x": ANY_NCHW}, "outputs": {"y": ANY_NCHW}},
        "eval mode",
    ),
    "four channels": (
        "y = Relu(x)",
        {},
        {"inputs": {"x": ("n", 4, "h", "w")}, "outputs": {"y": ("n", 4, "h", "w")}},
        "neither 1 nor 3 channels",
    ),
    "lie about its shape": (
        "y = Add(x w)",
        {"w": np.zeros((3, 5, 5), np.float32)},
        {"inputs": {"x": (1, 3, 8, 8)}, "outputs": {"y": (1, 3, 8, 8)}},
        "cannot load|does not take",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_names_the_way_out(case: str, tmp_path: Path) -> None:
    text, weights, declared, message = REFUSALS[case]
    path = save_net(tmp_path / "net.onnx", text, weights, **declared)
    with pytest.raises(ImportRejected, match=message):
        run_import(path)
    assert not (tmp_path / "models" / "mine").exists()


def test_recurrent_state_is_refused(tmp_path: Path) -> None:
    weights = {"w": np.zeros((1, 12, 4), np.float32), "r": np.zeros((1, 12, 4), np.float32)}
    path = save_net(
        tmp_path / "net.onnx",
        "y hn = GRU(x w r b lengths h) hidden_size:4".replace("b lengths", "bias lengths"),
        {**weights, "bias": np.zeros((1, 24), np.float32), "lengths": np.full(1, 5, np.int32)},
        inputs={"x": (5, 1, 4), "h": (1, 1, 4)},
        outputs={"y": (5, 1, 1, 4), "hn": (1, 1, 4)},
    )
    with pytest.raises(ImportRejected, match="keeps none between"):
        run_import(path)


def test_untrained_model_is_asked_about(tmp_path: Path) -> None:
    weights = {"w": np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)}
    path = save_net(
        tmp_path / "net.onnx", "y = Conv(x w) pads:1,1,1,1", weights, inputs={"x": ANY_NCHW}, outputs={"y": ANY_NCHW}
    )
    with pytest.raises(ImportRejected, match=r"--range .* --color \(rgb or bgr\).* --data FOLDER"):
        run_import(path, stated=ReadingFlags())


@pytest.mark.parametrize("name", ["net.pth", "net.h5", "net.onnx"])
def test_files_of_other_kinds_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ImportRejected, match="ONNX"):
        read_source(tmp_path / name)


def test_name_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    source = read_source(save_denoiser(tmp_path / "net.onnx", 0.2, 1))
    with pytest.raises(ImportRejected, match="--name"):
        import_model(ImportRequest({"denoise": source}, "../elsewhere"), Selection(), Flags(), tmp_path / "models")
    assert not (tmp_path / "elsewhere").exists()


def test_torch_module_is_published_from_python(tmp_path: Path) -> None:
    net = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False)
    net.weight.data = torch.from_numpy(blur_weights())
    folder = Workspace(models=tmp_path).publish_module(
        net, torch.zeros(1, 3, 24, 32), "denoise", "blur", flags=Flags(KNOWN)
    )
    card, run = published(folder)
    assert card.any_size
    images = noise(1, 21, 30, 3)
    assert np.abs(run(images).astype(int) - shrunk(images, 1e9)).max() <= 1


def test_command_prints_evidence_and_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(save_denoiser(tmp_path / "net.onnx", 0.25, 1))
    command = ["import", path, "--operation", "denoise", "--name", "mine", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--range", "0..1", "--color", "rgb"])
    assert not stopped.value.code
    output = capsys.readouterr().out
    assert "by trying" not in output
    assert "radius 1, stride 1" in output
    assert "published" in output
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--size", "tall"])
    assert stopped.value.code == 1
    assert "HEIGHTxWIDTH" in capsys.readouterr().err
