"""The queueing formulas of the capacity tables beside a simulation of the same queues."""

import numpy as np
import pytest

from benchmarks.capacity import (
    DIGITS,
    BatchModel,
    Noise,
    batch_mean,
    erlang_c,
    photo_cores,
    photo_p99,
    simulate_batches,
    simulate_photos,
    smallest,
)

TOLERANCE = 0.15  # as docs/scale.md states


def test_erlang_c_is_the_utilization_of_one_server() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)  # 2 r^2 / (1 + r) with r = 1/2


@pytest.mark.parametrize("cores", [1, 4, 32])
@pytest.mark.parametrize("utilization", [0.5, 0.8, 0.9])
def test_p99_of_photographs_agrees_with_simulation(cores: int, utilization: float) -> None:
    simulated = np.percentile(simulate_photos(utilization * cores, 1.0, cores), 99)
    assert photo_p99(utilization * cores, 1.0, cores) == pytest.approx(simulated, rel=TOLERANCE)


@pytest.mark.parametrize("utilization", [0.2, 0.5, 0.7, 0.9])
def test_mean_of_batches_agrees_with_simulation(utilization: float) -> None:
    rate = utilization * DIGITS.capacity
    assert batch_mean(rate, DIGITS) == pytest.approx(simulate_batches(rate, DIGITS).mean(), rel=TOLERANCE)


def test_overload_never_ends() -> None:
    assert photo_p99(4, 1.0, 4) == float("inf")
    assert batch_mean(DIGITS.capacity, DIGITS) == float("inf")


def test_one_core_less_misses_the_target() -> None:
    cores = photo_cores(0.1, 2.0)
    assert photo_p99(0.1, 2.0, cores) <= 4.0 < photo_p99(0.1, 2.0, cores - 1)


def test_cores_keep_a_reserve() -> None:
    assert photo_cores(100, 2.0) == 250  # 200 busy cores at a utilization of 0.8


def test_search_returns_the_smallest_number() -> None:
    assert smallest(lambda number: number >= 37, 1) == 37


def test_model_has_the_measured_latency_and_rate() -> None:
    model = BatchModel.of(rate=4000, alone=0.0005)
    assert model.capacity == pytest.approx(4000)
    assert simulate_batches(1, model).min() == pytest.approx(0.0005)


def test_noise_at_a_light_load_is_that_of_a_lone_client() -> None:
    latencies = np.random.default_rng(3).exponential(0.001, 100_000) + 0.0005
    model = BatchModel.of(rate=10_000, alone=float(np.median(latencies)))
    simulated = simulate_batches(0.1, model, Noise.of(latencies))
    for percentile in (90, 99, 99.9):
        assert np.percentile(simulated, percentile) == pytest.approx(np.percentile(latencies, percentile), rel=0.05)
