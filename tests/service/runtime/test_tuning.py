"""Choices of precision, threads and tiles. Batch sizes are tested with the model that measures them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from service.card import Card, Graph
from service.repository.layout import load_card
from service.runtime import tuning
from service.runtime.hardware import Choice
from service.runtime.tuning import LoadOptions, choose_precision, choose_threads, choose_tiles

MEBIBYTE = 1 << 20
OPTIONS = LoadOptions("cpu", 0, 64, ThreadPoolExecutor(1), cores=4)


@pytest.fixture
def card(models: Path) -> Card:
    """Return the card of the tiny model for images of any size."""
    return load_card(models / "photos" / "1")


@pytest.fixture
def graphs(card: Card) -> list[Graph]:
    """Return a graph in both precisions."""
    return [card.graphs[0], card.graphs[0].model_copy(update={"precision": "int8"})]


@pytest.mark.parametrize(("int8", "expected"), [(True, "int8"), (False, "float32")])
def test_auto_precision_follows_the_cpu(
    monkeypatch: pytest.MonkeyPatch, graphs: list[Graph], int8: bool, expected: str
) -> None:
    monkeypatch.setattr(tuning, "has_int8_instructions", lambda: Choice(int8, "by the test"))
    choice, graph = choose_precision(OPTIONS, graphs)
    assert (choice.value, choice.reason, graph.precision) == (expected, "by the test", expected)


def test_set_precision_overrides_the_cpu(monkeypatch: pytest.MonkeyPatch, graphs: list[Graph]) -> None:
    monkeypatch.setattr(tuning, "has_int8_instructions", lambda: Choice(True, ""))
    choice, graph = choose_precision(replace(OPTIONS, precision="float32"), graphs)
    assert (choice.reason, graph.precision) == ("set by configuration", "float32")


def test_single_precision_is_used_whatever_is_set(graphs: list[Graph]) -> None:
    _, graph = choose_precision(replace(OPTIONS, precision="int8"), graphs[:1])
    assert graph.precision == "float32"


def test_threads_are_one_unless_set() -> None:
    assert choose_threads(OPTIONS).value == 1
    assert choose_threads(replace(OPTIONS, intra_op_threads=3)).value == 3


@pytest.mark.parametrize(
    ("memory", "threads", "concurrency", "pixels"),
    [
        (64 * MEBIBYTE, 1, 4, 16 * MEBIBYTE),
        (2 * MEBIBYTE, 2, 2, MEBIBYTE),
        (MEBIBYTE, 4, 1, MEBIBYTE),
    ],
    ids=["a tile per core", "memory for two tiles", "memory for one tile"],
)
def test_tiles_share_memory_and_cores(card: Card, memory: int, threads: int, concurrency: int, pixels: int) -> None:
    # A square tile of 15 receptive radii has 1005 x 1005 pixels, slightly less than 2 ** 20.
    wide = card.model_copy(update={"receptive_radius": 67})
    graph = card.graphs[0].model_copy(update={"bytes_per_pixel": 1.0})
    plan = choose_tiles(replace(OPTIONS, tile_memory_bytes=memory), wide, graph)
    assert (plan.threads.value, plan.concurrency, plan.pixels.value) == (threads, concurrency, pixels)


def test_set_threads_divide_the_cores_among_tiles(card: Card) -> None:
    plan = choose_tiles(replace(OPTIONS, intra_op_threads=3, cores=7), card, card.graphs[0])
    assert (plan.threads.value, plan.concurrency) == (3, 2)
