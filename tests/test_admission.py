"""Who may wait, and how long whoever may not is told to stay away."""

from contextlib import ExitStack, suppress

import pytest

from service.engine import admission
from service.engine.admission import LONGEST, Admission, Hold, Line
from service.errors import Overloaded


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(admission, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def work(place: Admission, clock: Clock, size: int, seconds: int) -> None:
    """So many bytes come and go each second."""
    for _ in range(seconds):
        place.enter(1, size, Line(), 1, 1)
        clock.now += 1
        place.leave(1, size, Line(), 1)


def test_the_wait_is_what_is_under_way_at_the_pace_of_late(clock: Clock) -> None:
    place = Admission(items=100, size=10_000)
    work(place, clock, 100, 20)
    place.enter(1, 700, Line(), 1, 1)
    assert place.wait() == 7
    work(place, clock, 700, 20)
    assert place.wait() == 1


def test_what_was_long_ago_tells_nothing(clock: Clock) -> None:
    place = Admission(items=100, size=10_000)
    work(place, clock, 1, 20)
    clock.now += 3600
    place.enter(1, 10_000, Line(), 1, 1)
    assert place.wait() == 1


def test_nobody_is_told_to_wait_for_ever(clock: Clock) -> None:
    place = Admission(items=100, size=10_000)
    work(place, clock, 1, 20)
    place.enter(1, 10_000, Line(), 1, 1)
    assert place.wait() == LONGEST


def test_more_than_may_wait_is_told_when_to_come_back(clock: Clock) -> None:
    place = Admission(items=100, size=1000)
    work(place, clock, 100, 10)
    place.enter(1, 900, Line(), 1, 1)
    with pytest.raises(Overloaded) as refused:
        place.enter(1, 200, Line(), 1, 1)
    assert refused.value.headers["retry-after"] == "9"
    place.leave(1, 900, Line(), 1)
    place.enter(1, 2000, Line(), 1, 1)  # larger than the whole limit, but alone
    with pytest.raises(Overloaded):
        place.enter(1, 1, Line(), 1, 1)


def test_bodies_hold_no_more_than_the_bound_and_the_largest_gives_way() -> None:
    place = Admission(items=100, size=1000)
    with ExitStack() as stack:
        large = [stack.enter_context(Hold(place)) for _ in range(9)]
        with suppress(Overloaded):
            for hold in large * 1000:
                hold.grow(1)
        assert large[0].size == 100  # a tenth: as much as is left for whoever comes
        assert place.held <= 1000
        with Hold(place) as small:
            small.grow(10)
    assert place.held == 0


def test_a_body_alone_may_be_larger_than_the_bound() -> None:
    place = Admission(items=100, size=1000)
    with Hold(place) as alone:
        alone.grow(600)
        alone.grow(600)
        with Hold(place) as other, pytest.raises(Overloaded):
            other.grow(1)


def waiting(line: Line, *works: int) -> None:
    for work in works:
        line.enter(work, 1e9)


def test_a_newcomer_who_would_not_be_done_in_time_is_told_so_at_once() -> None:
    line = Line(runners=2)
    line.ran(50, 1.0)
    assert line.pace == 100
    waiting(line, *[10] * 20)  # two seconds
    line.enter(10, 4)
    line.leave(10)
    with pytest.raises(Overloaded, match="within 2 s") as refused:
        line.enter(10, 2)
    assert refused.value.headers["retry-after"] == "2"
    assert (line.count, line.work) == (20, 200)


def test_a_small_one_waits_for_no_more_of_a_large_one_than_it_has_itself() -> None:
    line = Line()
    line.ran(100, 1.0)
    waiting(line, 10_000)
    line.enter(10, 0.5)
    with pytest.raises(Overloaded):
        line.enter(200, 2)


def test_whoever_is_alone_or_comes_before_the_pace_is_known_is_let_in() -> None:
    line = Line()
    waiting(line, 5, 5)
    line.enter(1000, 0.001)
    alone = Line()
    alone.ran(1, 1.0)
    alone.enter(1000, 0.001)


def test_a_slower_run_says_little_and_a_faster_one_all() -> None:
    line = Line()
    line.ran(100, 1.0)
    line.ran(1, 1.0)
    assert 80 < line.pace < 100
    for _ in range(100):
        line.ran(1, 1.0)
    assert line.pace < 2
    line.ran(100, 1.0)
    assert line.pace == 100


def test_a_place_refused_by_the_whole_is_no_place_in_the_line_nor_the_other_way() -> None:
    place, line = Admission(items=2, size=10), Line()
    place.enter(1, 10, line, 1, 1)
    with pytest.raises(Overloaded):
        place.enter(1, 10, line, 1, 1)
    assert (line.count, line.work, place.items) == (1, 1, 1)
    line.pace = 0.1
    with pytest.raises(Overloaded):
        place.enter(1, 0, line, 1, 1)
    assert (line.count, line.work, place.items) == (1, 1, 1)
    place.leave(1, 10, line, 1)
    assert (line.count, line.work, place.items, place.size) == (0, 0, 0, 0)
