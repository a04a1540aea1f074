"""Choices of precision, threads and tiles. Batch sizes are tested with the model that measures them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.card import Card, Graph
from service.errors import ModelRejected
from service.repository.layout import load_card
from service.runtime import session
from service.runtime.providers import Device
from service.runtime.tensors import to_array
from service.runtime.tuning import (
    TIMING_SIDE,
    LoadOptions,
    Trial,
    choose_precision,
    choose_threads,
    choose_tiles,
    precision_candidates,
    precision_name,
    timing_batch,
)

MEBIBYTE = 1 << 20
OPTIONS = LoadOptions(Device(), 0, 64, ThreadPoolExecutor(1), cores=4)


@pytest.fixture
def card(models: Path) -> Card:
    """Return the card of the tiny model for images of any size."""
    return load_card(models / "photos" / "1")


@pytest.fixture
def graphs(card: Card) -> list[Graph]:
    """Return a graph as int8 with weights of 7 and 8 bits, and as float32."""
    float32 = card.graphs[0]
    seven = {"precision": "int8", "weight_bits": 7}
    return [float32.model_copy(update=seven), float32.model_copy(update={"precision": "int8"}), float32]


def test_candidates_are_in_the_order_of_accuracy(graphs: list[Graph]) -> None:
    candidates = precision_candidates(OPTIONS, graphs)
    assert [precision_name(graph) for graph in candidates.value] == ["float32", "int8", "int8-7bit"]
    set_ones = precision_candidates(replace(OPTIONS, precision="int8"), graphs)
    assert [precision_name(graph) for graph in set_ones.value] == ["int8", "int8-7bit"]
    assert set_ones.reason == "set by configuration"


def test_single_precision_is_used_whatever_is_set(graphs: list[Graph]) -> None:
    assert precision_candidates(replace(OPTIONS, precision="int8"), graphs[2:]).value == graphs[2:]


def test_other_devices_compute_in_float32(monkeypatch: pytest.MonkeyPatch, graphs: list[Graph]) -> None:
    monkeypatch.setattr(session.ort, "get_available_providers", lambda: ["OpenVINOExecutionProvider"])
    candidates = precision_candidates(replace(OPTIONS, device=Device("openvino")), graphs)
    assert [precision_name(graph) for graph in candidates.value] == ["float32"]
    assert candidates.reason == "the device is openvino, not the CPU"


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((10.0, 4.0, 3.9), "int8"),  # 7 bits are less accurate, and hardly faster
        ((10.0, 9.0, 4.5), "int8-7bit"),  # 8 bits without VNNI: exact, and hardly faster than float32
        ((10.0, None, 4.5), "int8-7bit"),
        ((10.0, 9.0, 8.9), "float32"),
        ((10.0, None, None), "float32"),
    ],
)
def test_precision_is_the_fastest_with_a_clear_gain(
    graphs: list[Graph], seconds: tuple[float | None, ...], chosen: str
) -> None:
    trials = [
        Trial(graph, problem="it overflows") if time is None else Trial(graph, time / 1000)
        for graph, time in zip(reversed(graphs), seconds, strict=True)
    ]
    choice = choose_precision(trials, "measured")
    assert choice.value.name == chosen
    assert choice.reason.startswith("measured: float32 takes 10 ms, ")
    assert choice.reason.count("it overflows") == seconds.count(None)


def test_precision_that_cannot_be_computed_is_refused(graphs: list[Graph]) -> None:
    with pytest.raises(ModelRejected, match="it overflows"):
        choose_precision([Trial(graphs[1], problem="it overflows")], "set by configuration")


def test_photos_are_timed_on_larger_images(graphs: list[Graph]) -> None:
    batch = timing_batch(graphs[2], any_size=True)
    probe = to_array(graphs[2].probe.input)
    assert batch.shape == (1, TIMING_SIDE, TIMING_SIDE, 3)
    assert np.array_equal(batch[0, : probe.shape[1], : probe.shape[2]], probe[0])
    assert timing_batch(graphs[2], any_size=False).shape == (1, *probe.shape[1:])


def test_threads_are_one_unless_set() -> None:
    assert choose_threads(OPTIONS).value == 1
    assert choose_threads(replace(OPTIONS, intra_op_threads=3)).value == 3


@pytest.mark.parametrize(
    ("memory", "threads", "concurrency", "pixels"),
    [
        (64 * MEBIBYTE, 1, 4, MEBIBYTE),
        (2 * MEBIBYTE, 2, 2, MEBIBYTE),
        (MEBIBYTE, 4, 1, MEBIBYTE),
    ],
    ids=["a tile per core", "memory for two tiles", "memory for one tile"],
)
def test_tiles_share_memory_and_cores(card: Card, memory: int, threads: int, concurrency: int, pixels: int) -> None:
    # A square tile of 21 receptive radii has 1008 x 1008 pixels, slightly less than 2 ** 20.
    wide = card.model_copy(update={"receptive_radius": 48})
    graph = card.graphs[0].model_copy(update={"bytes_per_pixel": 1.0})
    plan = choose_tiles(replace(OPTIONS, tile_memory_bytes=memory), wide, graph)
    assert (plan.threads.value, plan.concurrency, plan.pixels.value) == (threads, concurrency, pixels)


@pytest.mark.parametrize(
    ("memory", "many_images", "threads", "concurrency"),
    [(MEBIBYTE, False, 4, 1), (MEBIBYTE, True, 2, 2), (2 * MEBIBYTE, True, 1, 4), (MEBIBYTE // 4, True, 4, 1)],
)
def test_queued_images_run_side_by_side(
    card: Card, memory: int, many_images: bool, threads: int, concurrency: int
) -> None:
    wide = card.model_copy(update={"receptive_radius": 48})  # tiles of 15 radii have 720 x 720 pixels
    graph = card.graphs[0].model_copy(update={"bytes_per_pixel": 1.0})
    options = replace(OPTIONS, cores=4, tile_memory_bytes=memory, many_images=many_images)
    plan = choose_tiles(options, wide, graph)
    assert (plan.threads.value, plan.concurrency, plan.pixels.value) == (threads, concurrency, memory // concurrency)


@pytest.mark.parametrize(
    ("radius", "pixels"), [(2, MEBIBYTE), (63, (21 * 63) ** 2), (None, 1 << 40)], ids=["small", "large", "not tiled"]
)
def test_tiles_are_limited_where_more_memory_saves_little(card: Card, radius: int | None, pixels: int) -> None:
    net = card.model_copy(update={"receptive_radius": radius})
    graph = card.graphs[0].model_copy(update={"bytes_per_pixel": 1.0})
    assert choose_tiles(replace(OPTIONS, tile_memory_bytes=1 << 40), net, graph).pixels.value == pixels


def test_set_threads_divide_the_cores_among_tiles(card: Card) -> None:
    plan = choose_tiles(replace(OPTIONS, intra_op_threads=3, cores=7), card, card.graphs[0])
    assert (plan.threads.value, plan.concurrency) == (3, 2)
