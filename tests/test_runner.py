"""How a graph is run: the curve of batches and what follows from it, measured only while nobody waits."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from service import runner
from service.batcher import Batcher
from service.curve import Curve, choose_batch
from service.folder import load_card
from service.hardware import Choice
from service.runner import (
    LONG_BATCH,
    SHORT_BATCH,
    Loading,
    Runner,
    choose_precision,
    measure_idly,
    open_runner,
)
from service.runtime import Session


def costs(fixed: float, item: float, largest: int) -> dict[int, float]:
    """What batches of 1, 2, 4 ... items take where they take fixed + item * items."""
    return {2**at: fixed + item * 2**at for at in range(largest.bit_length())}


class Timed:
    """A session whose runs take a known time, and which remembers what was measured."""

    def __init__(self, fixed: float, item: float) -> None:
        self.fixed, self.item = fixed, item
        self.sizes: list[int] = []

    def shrink(self, batch: NDArray[Any]) -> None:
        assert len(batch) == 1

    def seconds(self, batch: NDArray[Any]) -> float:
        self.sizes.append(len(batch))
        return self.fixed + self.item * len(batch)


def limit(runner: Runner) -> int:
    """Items of a batch."""
    assert isinstance(runner.batcher, Batcher)
    return runner.batcher.max_batch


@pytest.fixture
def opened(models: Path) -> Runner:
    """The tiny digits' denoiser, not measured yet."""
    card = load_card(models / "digits" / "1")
    with ThreadPoolExecutor(1) as pool:
        return open_runner(models / "digits" / "1", card, "denoise", Loading("cpu", 0, 64, pool, 1))


def test_the_curve_is_found_again() -> None:
    found = costs(50e-6, 9e-6, 64)
    curve = Curve.of(list(found), list(found.values()))
    assert curve.fixed == pytest.approx(50e-6)
    assert curve.item == pytest.approx(9e-6)


@pytest.mark.parametrize(
    ("fixed", "item", "wanted"),
    [(45e-6, 9e-6, 128), (7e-6, 30e-6, 8), (0.0, 30e-6, 1), (100e-6, 1e-6, 256)],
    ids=["dense", "convolutional", "nothing gained", "never enough"],
)
def test_a_batch_is_as_large_as_pays(fixed: float, item: float, wanted: int) -> None:
    chosen = choose_batch(costs(fixed, item, 256), 256)
    assert chosen.value == wanted
    assert "ms an item" in chosen.reason


def test_the_reason_names_what_bounds_a_batch() -> None:
    assert "the setting" in choose_batch(costs(1e-3, 1e-6, 16), 16).reason
    assert "a lone caller" in choose_batch(costs(1e-3, 1e-6, 16), 128).reason
    assert choose_batch({1: 0.2}, 128).value == 1


@pytest.mark.parametrize(("place", "bound"), [("event loop", SHORT_BATCH), ("pool", LONG_BATCH)])
def test_no_batch_is_measured_that_would_be_too_long(opened: Runner, place: str, bound: float) -> None:
    session = Timed(fixed=0.0, item=bound / 20)
    opened.session = cast("Session", session)
    opened.choices["place"] = runner.Choice(place, "for the test")
    while not opened.measured:
        opened.measure()
    assert session.sizes == [1, 2, 4, 8, 16]
    assert limit(opened) == opened.choices["batch"].value == 1


def test_the_batcher_takes_what_was_measured_to_pay(opened: Runner) -> None:
    assert "not measured yet" in opened.choices["batch"].reason
    opened.session = cast("Session", Timed(fixed=20e-6, item=20e-6))
    while not opened.measured:
        opened.measure()
    assert limit(opened) == opened.choices["batch"].value == 32
    assert max(cast("Timed", opened.session).sizes) == 64, "the setting is the largest that is tried"


def test_a_graph_that_fails_on_larger_batches_keeps_to_those_that_work(opened: Runner) -> None:
    class Fixed(Timed):
        def seconds(self, batch: NDArray[Any]) -> float:
            if len(batch) > 4:
                raise ValueError("reshape")
            return super().seconds(batch)

    opened.session = cast("Session", Fixed(fixed=1e-3, item=1e-6))
    while not opened.measured:
        opened.measure()
    assert limit(opened) == 4
    assert opened.choices["batch"].reason == "a run of 8 fails: ValueError"


@pytest.mark.anyio
async def test_nothing_is_measured_while_somebody_waits(opened: Runner) -> None:
    session = Timed(fixed=20e-6, item=20e-6)
    opened.session = cast("Session", session)
    looks: list[bool] = []

    def idle() -> bool:
        looks.append(len(looks) >= 2)
        return looks[-1]

    task = asyncio.create_task(measure_idly(lambda: [opened], idle))
    while not opened.measured:
        await asyncio.sleep(0.01)
        assert bool(session.sizes) <= any(looks)
    task.cancel()
    assert looks[:3] == [False, False, True]


def test_large_pictures_take_the_processors_and_small_ones_share_them(models: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        loading = Loading("cpu", 0, 64, pool, cores=8)
        found = {
            name: open_runner(folder, card, "denoise", loading).choices
            for name in ("photos", "digits")
            for folder in [models / name / "1"]
            for card in [load_card(folder)]
        }
    assert found["photos"]["threads"].value == 4
    assert found["digits"]["threads"].value == 1
    assert found["photos"]["tile"].value == loading.tile_pixels
    assert "2 at once" in found["photos"]["tile"].reason


@pytest.mark.parametrize(
    ("asked", "made_for_it", "wanted"),
    [("auto", True, "int8"), ("auto", False, "float32"), ("float32", True, "float32"), ("int8", False, "int8")],
)
def test_int8_is_run_where_it_is_asked_for_or_fast(
    monkeypatch: pytest.MonkeyPatch, models: Path, asked: Any, made_for_it: bool, wanted: str
) -> None:
    monkeypatch.setattr(runner, "fast_int8", lambda: Choice(made_for_it, "this processor"))
    (graph,) = load_card(models / "photos" / "1").graphs
    both = [graph, graph.model_copy(update={"precision": "int8", "file": "denoise.int8.onnx"})]
    with ThreadPoolExecutor(1) as pool:
        chosen, found = choose_precision(Loading("cpu", 0, 64, pool, 1, precision=asked), both)
        assert (chosen.value, found.precision) == (wanted, wanted)
        assert chosen.reason
        lone, _ = choose_precision(Loading("cpu", 0, 64, pool, 1, precision="int8"), [graph])
    assert (lone.value, lone.reason) == ("float32", "the only one that the model has")


def test_a_batchers_limit_may_change_between_batches() -> None:
    async def sizes() -> list[int]:
        seen: list[int] = []
        batcher = Batcher(lambda batch: batch, max_batch=2, observe=seen.append)
        item = np.zeros((1, 1), np.float32)
        await asyncio.gather(*(batcher.submit(item) for _ in range(4)))
        batcher.max_batch = 4
        await asyncio.gather(*(batcher.submit(item) for _ in range(4)))
        return seen

    assert asyncio.run(sizes()) == [2, 2, 4]
