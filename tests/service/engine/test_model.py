"""How a model runs: batch costs and the choices from them, measured only while no request waits."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from numpy.typing import NDArray

from service.engine.batcher import Batcher
from service.engine.model import Runner, autotune_when_idle
from service.repository.layout import load_card
from service.repository.loader import load_runner
from service.runtime.providers import Device
from service.runtime.session import Session
from service.runtime.tuning import (
    DEFAULT_BYTES_PER_PIXEL,
    INLINE_BATCH_SECONDS,
    POOL_BATCH_SECONDS,
    BatchCost,
    LoadOptions,
    choose_batch,
    choose_tiles,
)


def costs(fixed: float, item: float, largest: int) -> dict[int, float]:
    """Return the seconds of batches of 1, 2, 4 ... items for a cost of fixed + item * items."""
    return {2**at: fixed + item * 2**at for at in range(largest.bit_length())}


class Timed:
    """A session whose runs take a known time, and which records the measured batch sizes."""

    def __init__(self, fixed: float, item: float) -> None:
        self.fixed, self.item = fixed, item
        self.sizes: list[int] = []

    def release_memory(self, batch: NDArray[Any]) -> None:
        assert len(batch) == 1

    def time_run(self, batch: NDArray[Any]) -> float:
        self.sizes.append(len(batch))
        return self.fixed + self.item * len(batch)


def limit(model: Runner) -> int:
    """Items of a batch."""
    assert isinstance(model.scheduler, Batcher)
    return model.scheduler.max_batch


@pytest.fixture
def opened(models: Path) -> Runner:
    """Return the denoise model of the tiny digits, before its batch sizes are measured."""
    card = load_card(models / "digits" / "1")
    with ThreadPoolExecutor(1) as pool:
        return load_runner(models / "digits" / "1", card, "denoise", LoadOptions(Device(), 0, 64, pool, 1))


def test_batch_cost_fit_recovers_overhead_and_item_time() -> None:
    measured = costs(50e-6, 9e-6, 64)
    curve = BatchCost.fit(list(measured), list(measured.values()))
    assert curve.overhead == pytest.approx(50e-6)
    assert curve.per_item == pytest.approx(9e-6)


@pytest.mark.parametrize(
    ("fixed", "item", "expected"),
    [(45e-6, 9e-6, 128), (7e-6, 30e-6, 8), (0.0, 30e-6, 1), (100e-6, 1e-6, 256)],
    ids=["dense", "convolutional", "nothing gained", "never enough"],
)
def test_batch_size_has_little_overhead(fixed: float, item: float, expected: int) -> None:
    chosen = choose_batch(costs(fixed, item, 256), 256)
    assert chosen.value == expected
    assert "ms per item" in chosen.reason


def test_batch_reason_names_the_bound() -> None:
    assert "the setting" in choose_batch(costs(1e-3, 1e-6, 16), 16).reason
    assert "a single request" in choose_batch(costs(1e-3, 1e-6, 16), 128).reason
    assert choose_batch({1: 0.2}, 128).value == 1


@pytest.mark.parametrize(("place", "bound"), [("event loop", INLINE_BATCH_SECONDS), ("pool", POOL_BATCH_SECONDS)])
def test_too_long_batches_are_not_measured(opened: Runner, place: str, bound: float) -> None:
    session = Timed(fixed=0.0, item=bound / 20)
    opened.session = cast("Session", session)
    opened.inline = place == "event loop"
    while not opened.measured:
        opened.measure_next()
    assert session.sizes == [1, 2, 4, 8, 16]
    assert limit(opened) == opened.choices["batch"].value == 1


def test_batcher_uses_the_measured_batch_size(opened: Runner) -> None:
    assert "not measured yet" in opened.choices["batch"].reason
    opened.session = cast("Session", Timed(fixed=20e-6, item=20e-6))
    while not opened.measured:
        opened.measure_next()
    assert limit(opened) == opened.choices["batch"].value == 32
    assert max(cast("Timed", opened.session).sizes) == 64, "no batch over the setting is measured"


def test_failing_batch_sizes_are_not_used(opened: Runner) -> None:
    class Fixed(Timed):
        def time_run(self, batch: NDArray[Any]) -> float:
            if len(batch) > 4:
                raise ValueError("reshape")
            return super().time_run(batch)

    opened.session = cast("Session", Fixed(fixed=1e-3, item=1e-6))
    while not opened.measured:
        opened.measure_next()
    assert limit(opened) == 4
    assert opened.choices["batch"].reason == "a batch of 8 fails: ValueError"


@pytest.mark.anyio
async def test_batch_is_not_measured_while_requests_wait(opened: Runner) -> None:
    session = Timed(fixed=20e-6, item=20e-6)
    opened.session = cast("Session", session)
    looks: list[bool] = []

    def idle() -> bool:
        looks.append(len(looks) >= 2)
        return looks[-1]

    task = asyncio.create_task(autotune_when_idle(lambda: [opened], idle))
    while not opened.measured:
        await asyncio.sleep(0.01)
        assert bool(session.sizes) <= any(looks)
    task.cancel()
    assert looks[:3] == [False, False, True]


@pytest.mark.parametrize(
    ("cores", "memory", "threads", "side_by_side"),
    [(2, 64 << 20, 2, 1), (2, 512 << 20, 1, 2), (8, 1 << 20, 4, 2), (8, 1 << 40, 1, 8), (1, 1, 1, 1)],
    ids=["little memory", "room for two", "one run gains nothing of all", "room for all", "nearly none"],
)
def test_tile_concurrency_is_limited_by_memory(
    models: Path, cores: int, memory: int, threads: int, side_by_side: int
) -> None:
    card = load_card(models / "photos" / "1").model_copy(update={"receptive_radius": 63})
    graph = card.graphs[0].model_copy(update={"bytes_per_pixel": 100.0})
    with ThreadPoolExecutor(1) as pool:
        tiles = choose_tiles(LoadOptions(Device(), 0, 64, pool, cores, tile_memory_bytes=memory), card, graph)
    assert (tiles.threads.value, tiles.concurrency) == (threads, side_by_side)
    assert tiles.pixels.value * side_by_side * 100 <= memory


def test_card_without_memory_gets_smaller_tiles(models: Path) -> None:
    card = load_card(models / "photos" / "1")
    with ThreadPoolExecutor(1) as pool:
        loading = LoadOptions(Device(), 2, 64, pool, 2, tile_memory_bytes=100 << 20)
        stated, unstated = (
            choose_tiles(loading, card, card.graphs[0].model_copy(update={"bytes_per_pixel": each})).pixels.value
            for each in (80.0, None)
        )
    assert unstated == int((100 << 20) / DEFAULT_BYTES_PER_PIXEL) < stated


def test_small_inputs_use_one_thread_each(models: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        card = load_card(models / "digits" / "1")
        runner = load_runner(models / "digits" / "1", card, "denoise", LoadOptions(Device(), 0, 64, pool, cores=8))
    assert runner.choices["threads"].value == 1
