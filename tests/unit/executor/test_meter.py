"""The meter: at any moment exactly one owner's clock runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.executor.meter import Meter
from tests.unit.executor.fake_jobs import FakeClock

OWNERS = st.sampled_from([None, "read", "call", "write"])


@given(st.lists(st.tuples(OWNERS, st.integers(0, 10**9))))
def test_the_parts_sum_to_the_whole(changes: list[tuple[str | None, int]]) -> None:
    clock = FakeClock()
    meter = Meter(clock)
    expected: dict[str | None, int] = {}
    for owner, nanoseconds in changes:
        meter.enter(owner)
        clock.now += nanoseconds
        expected[owner] = expected.get(owner, 0) + nanoseconds
    meter.enter(None)
    for owner in ("read", "call", "write"):
        assert meter.spent_ns(owner) == expected.get(owner, 0)


def test_enter_returns_the_one_before() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    assert meter.enter("outer") is None
    clock.pass_ms(1)
    previous = meter.enter("inner")
    assert previous == "outer"
    clock.pass_ms(2)
    meter.enter(previous)
    clock.pass_ms(4)
    meter.enter(None)
    assert (meter.spent_ms("outer"), meter.spent_ms("inner")) == (5, 2)


@given(st.integers(0, 1000), st.integers(0, 2000))
def test_no_more_is_moved_than_is_there(spent: int, moved: int) -> None:
    clock = FakeClock()
    meter = Meter(clock)
    meter.enter("a")
    clock.now += spent
    meter.enter(None)
    meter.move("a", "b", moved)
    assert meter.spent_ns("a") + meter.spent_ns("b") == spent
    assert meter.spent_ns("a") == max(0, spent - moved)
