"""Admission: which requests are admitted, and the Retry-After of rejected ones."""

from contextlib import ExitStack, suppress

import pytest

from service.engine import admission
from service.engine.admission import MAX_RETRY_AFTER, Admission, BodyReservation, Demand, GraphLoad
from service.errors import Overloaded


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(admission, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def work(place: Admission, clock: Clock, size: int, seconds: int) -> None:
    """Admit and finish a number of bytes each second."""
    for _ in range(seconds):
        place.acquire(Demand(1, size, GraphLoad(), 1), 1)
        clock.now += 1
        place.release(Demand(1, size, GraphLoad(), 1))


def test_retry_after_is_inflight_work_at_recent_throughput(clock: Clock) -> None:
    place = Admission(max_items=100, max_bytes=10_000)
    work(place, clock, 100, 20)
    place.acquire(Demand(1, 700, GraphLoad(), 1), 1)
    assert place.retry_after() == 7
    work(place, clock, 700, 20)
    assert place.retry_after() == 1


def test_old_throughput_is_ignored(clock: Clock) -> None:
    place = Admission(max_items=100, max_bytes=10_000)
    work(place, clock, 1, 20)
    clock.now += 3600
    place.acquire(Demand(1, 10_000, GraphLoad(), 1), 1)
    assert place.retry_after() == 1


def test_retry_after_is_bounded(clock: Clock) -> None:
    place = Admission(max_items=100, max_bytes=10_000)
    work(place, clock, 1, 20)
    place.acquire(Demand(1, 10_000, GraphLoad(), 1), 1)
    assert place.retry_after() == MAX_RETRY_AFTER


def test_items_over_the_limit_get_retry_after(clock: Clock) -> None:
    place = Admission(max_items=100, max_bytes=1000)
    work(place, clock, 100, 10)
    place.acquire(Demand(1, 900, GraphLoad(), 1), 1)
    with pytest.raises(Overloaded) as refused:
        place.acquire(Demand(1, 200, GraphLoad(), 1), 1)
    assert refused.value.headers["retry-after"] == "9"
    place.release(Demand(1, 900, GraphLoad(), 1))
    place.acquire(Demand(1, 2000, GraphLoad(), 1), 1)  # larger than the whole limit, but alone
    with pytest.raises(Overloaded):
        place.acquire(Demand(1, 1, GraphLoad(), 1), 1)


def test_largest_body_is_rejected_near_the_byte_limit() -> None:
    place = Admission(max_items=100, max_bytes=1000)
    with ExitStack() as stack:
        large = [stack.enter_context(BodyReservation(place)) for _ in range(9)]
        with suppress(Overloaded):
            for hold in large * 1000:
                hold.add(1)
        assert large[0].size == 100  # a tenth: as much as is left for other requests
        assert place.reserved <= 1000
        with BodyReservation(place) as small:
            small.add(10)
    assert place.reserved == 0


def test_bodies_within_a_strict_limit_leave_half_of_it() -> None:
    place = Admission(max_items=9, max_bytes=1000, strict=True)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(BodyReservation(place)).add(100)
        with pytest.raises(Overloaded):
            stack.enter_context(BodyReservation(place)).add(101)


def test_single_body_may_exceed_the_byte_limit() -> None:
    place = Admission(max_items=100, max_bytes=1000)
    with BodyReservation(place) as alone:
        alone.add(600)
        alone.add(600)
        with BodyReservation(place) as other, pytest.raises(Overloaded):
            other.add(1)


def waiting(line: GraphLoad, *works: int) -> None:
    for work in works:
        line.acquire(work, 1e9)


def test_request_that_cannot_finish_in_time_is_rejected() -> None:
    line = GraphLoad(runners=2)
    line.record(50, 1.0)
    assert line.throughput == 100
    waiting(line, *[10] * 20)  # two seconds
    line.acquire(10, 4)
    line.release(10)
    with pytest.raises(Overloaded, match="within 2 s") as refused:
        line.acquire(10, 2)
    assert refused.value.headers["retry-after"] == "2"
    assert (line.requests, line.load) == (20, 200)


def test_small_request_waits_for_its_own_size_of_a_large_one() -> None:
    line = GraphLoad()
    line.record(100, 1.0)
    waiting(line, 10_000)
    line.acquire(10, 0.5)
    with pytest.raises(Overloaded):
        line.acquire(200, 2)


def test_lone_request_or_unknown_throughput_is_admitted() -> None:
    line = GraphLoad()
    waiting(line, 5, 5)
    line.acquire(1000, 0.001)
    alone = GraphLoad()
    alone.record(1, 1.0)
    alone.acquire(1000, 0.001)


def test_estimate_follows_faster_runs_at_once() -> None:
    line = GraphLoad()
    line.record(100, 1.0)
    line.record(1, 1.0)
    assert 80 < line.throughput < 100
    for _ in range(100):
        line.record(1, 1.0)
    assert line.throughput < 2
    line.record(100, 1.0)
    assert line.throughput == 100


def test_rejected_request_holds_no_slot() -> None:
    place, line = Admission(max_items=2, max_bytes=10), GraphLoad()
    place.acquire(Demand(1, 10, line, 1), 1)
    with pytest.raises(Overloaded):
        place.acquire(Demand(1, 10, line, 1), 1)
    assert (line.requests, line.load, place.items) == (1, 1, 1)
    line.throughput = 0.1
    with pytest.raises(Overloaded):
        place.acquire(Demand(1, 0, line, 1), 1)
    assert (line.requests, line.load, place.items) == (1, 1, 1)
    place.release(Demand(1, 10, line, 1))
    assert (line.requests, line.load, place.items, place.nbytes) == (0, 0, 0, 0)


def test_slot_is_released_when_its_block_fails() -> None:
    admission, load = Admission(max_items=2, max_bytes=10), GraphLoad()
    with suppress(KeyError), admission.slot(Demand(1, 10, load, 3), 1):
        assert (load.requests, load.load, admission.items, admission.nbytes) == (1, 3, 1, 10)
        raise KeyError
    assert (load.requests, load.load, admission.items, admission.nbytes) == (0, 0, 0, 0)


def test_rejected_slot_releases_nothing() -> None:
    admission, load = Admission(max_items=1, max_bytes=10), GraphLoad()
    with admission.slot(Demand(1, 10, load, 1), 1):
        with pytest.raises(Overloaded), admission.slot(Demand(1, 10, load, 1), 1):
            pass
        assert (load.requests, admission.items, admission.nbytes) == (1, 1, 10)
